{{- define "name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "testSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "proberSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-prober
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* What no container here may do: the "restricted" Pod Security Standard, and no writing to its own image. */ -}}
{{- define "containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* What export publish wrote. */ -}}
{{- define "modelsVolume" -}}
name: models
{{- if and .Values.models.persistentVolumeClaim .Values.models.image }}
{{- fail "models: want persistentVolumeClaim or image, got both" }}
{{- else if .Values.models.persistentVolumeClaim }}
persistentVolumeClaim:
  claimName: {{ .Values.models.persistentVolumeClaim }}
  readOnly: true
{{- else }}
image:
  reference: {{ required "models: want persistentVolumeClaim or image: where `python -m export publish` wrote the repository" .Values.models.image }}
{{- end }}
{{- end }}

{{- /* Where the probe asks. */ -}}
{{- define "probe" -}}
exec:
  command:
    - python
    - -m
    - deploy.serve.probe
    - --url=127.0.0.1:{{ .Values.server.grpcPort }}
    - --timeout={{ .Values.probes.timeoutSeconds }}
# Python takes a moment of it.
timeoutSeconds: {{ add .Values.probes.timeoutSeconds 2 }}
{{- end }}

{{- /* Of `tls`, for what asks under it. */ -}}
{{- define "environment" -}}
- name: PYTHONDONTWRITEBYTECODE
  value: "1"
- name: PYTHONUNBUFFERED
  value: "1"
{{- if .secretName }}
- name: ALEXNET_TLS_CA
  value: /tls/ca.crt
- name: ALEXNET_TLS_SERVER_NAME
  value: {{ required "tls: want serverName, a name in the certificate: the probes ask at 127.0.0.1" .serverName | quote }}
{{- if .clientCertificates }}
- name: ALEXNET_TLS_CERTIFICATE
  value: /tls/tls.crt
- name: ALEXNET_TLS_KEY
  value: /tls/tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Of a call that is passed on. */ -}}
{{- define "gateway.route" -}}
cluster: replicas
# A deadline is the client's, up to this; who has none gets it.
timeout: 0s
max_stream_duration: {max_stream_duration: {{ .Values.gateway.longest }}, grpc_timeout_header_max: {{ .Values.gateway.longest }}}
# An inference changes nothing: it may be asked for again, and by two. What a replica refuses because it has too much
# to do is not repeated: the door marks it (x-envoy-ratelimited).
retry_policy:
  retry_on: connect-failure,refused-stream,reset,reset-before-request,unavailable,cancelled,internal,retriable-headers
  retriable_headers: [{name: grpc-status, string_match: {exact: "5"}}]
  num_retries: 3
  per_try_timeout: {{ .Values.gateway.perTryTimeout }}
  retry_host_predicate:
    - name: envoy.retry_host_predicates.previous_hosts
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
  host_selection_retry_max_attempts: 10
# A slow one goes on, beside another attempt.
hedge_policy: {hedge_on_per_try_timeout: true}
{{- end }}

{{- /* A bucket of tokens for each client, who is known by certificate or address. */ -}}
{{- define "gateway.rateLimit" -}}
{{- $by := index . 1 -}}
{{- with index . 0 -}}
"@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
stat_prefix: clients_by_{{ $by }}
filter_enabled: {default_value: {numerator: 100}}
filter_enforced: {default_value: {numerator: 100}}
rate_limited_as_resource_exhausted: true
rate_limits:
  - actions:
      {{- if eq $by "certificate" }}
      - request_headers: {descriptor_key: certificate, header_name: x-forwarded-client-cert}
      {{- else }}
      - remote_address: {}
      {{- end }}
descriptors:
  # Whoever it is; of more than so many, who has not been seen for longest is forgotten.
  - entries: [{key: {{ ternary "certificate" "remote_address" (eq $by "certificate") }}}]
    token_bucket: &{{ $by }}
      max_tokens: {{ .burst }}
      tokens_per_fill: {{ .requestsPerSecond }}
      fill_interval: 1s
max_dynamic_descriptors: {{ .clients }}
# Of who is not known: nobody.
token_bucket: *{{ $by }}
always_consume_default_token_bucket: false
{{- end }}
{{- end }}

{{- /* A certificate that is read anew when it is renewed: see the ConfigMap. */ -}}
{{- define "gateway.secret" -}}
{name: {{ . }}, sds_config: {path_config_source: {path: /etc/gateway/{{ . }}.yaml}, resource_api_version: V3}}
{{- end }}

{{- define "gateway.pair" -}}
{{- $folder := index . 1 -}}
resources:
  - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: {{ index . 0 }}
    tls_certificate:
      certificate_chain: {filename: {{ $folder }}/tls.crt}
      private_key: {filename: {{ $folder }}/tls.key}
      watched_directory: {path: {{ $folder }}}
{{- end }}

{{- define "gateway.authority" -}}
{{- $folder := index . 1 -}}
resources:
  - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: {{ index . 0 }}
    validation_context:
      trusted_ca: {filename: {{ $folder }}/ca.crt}
      watched_directory: {path: {{ $folder }}}
{{- end }}
