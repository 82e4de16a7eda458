{{- define "name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- /* With what is put after it, a name may have 63. */ -}}
{{- if gt (len $name) 44 }}{{ fail (printf "got %s, a name of %d characters: want a release's name with which it has 44 at most" $name (len $name)) }}{{ end -}}
{{- $name -}}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Of a part beside the servers: list . "prober". */ -}}
{{- define "part" -}}
{{- with index . 0 -}}
app.kubernetes.io/name: {{ .Chart.Name }}-{{ index $ 1 }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "labelsOfPart" -}}
{{ include "part" . }}
{{- with index . 0 }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- end }}

{{- define "image" -}}
{{- if and .Values.gpu.count (regexMatch "(^|/)alexnet-serving$" .Values.image.repository) }}
{{- fail (printf "gpu.count is %v, and image.repository %s the image for CPUs: want the one of deploy/docker/Dockerfile" .Values.gpu.count .Values.image.repository) }}
{{- end }}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* The servers, in JSON: the release that is served, and the one that is tried beside it. */ -}}
{{- define "tracks" -}}
{{- $stable := dict "track" "stable" "suffix" "" "selector" (include "selector" . | fromYaml) -}}
{{- $_ := set $stable "labels" (include "labels" . | fromYaml) -}}
{{- $_ := set $stable "models" .Values.models -}}
{{- $_ := set $stable "key" "models" -}}
{{- $_ := set $stable "replicas" .Values.replicas -}}
{{- $tracks := list $stable -}}
{{- if .Values.canary.enabled -}}
{{- $canary := dict "track" "canary" "suffix" "-canary" "selector" (include "part" (list . "canary") | fromYaml) -}}
{{- $_ := set $canary "labels" (merge (dict "canary" (include "canary.id" .)) (include "labelsOfPart" (list . "canary") | fromYaml)) -}}
{{- $_ := set $canary "models" .Values.canary.models -}}
{{- $_ := set $canary "key" "canary.models" -}}
{{- $_ := set $canary "replicas" .Values.canary.replicas -}}
{{- $tracks = append $tracks $canary -}}
{{- end -}}
{{- toJson $tracks -}}
{{- end }}

{{- /* The same models are the same canary, whenever they are tried: what ended it once ends it again. */ -}}
{{- define "canary.id" -}}
{{- toJson .Values.canary.models | sha256sum | trunc 10 -}}
{{- end }}

{{- /* Whose addresses are the ready pods': list . "-canary". */ -}}
{{- define "headless" -}}
{{- with index . 0 }}{{ include "name" . }}{{ index $ 1 }}-headless.{{ .Release.Namespace }}.svc{{ end -}}
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
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* What export publish wrote: list .Values.models "models". */ -}}
{{- define "modelsVolume" -}}
{{- $key := index . 1 -}}
name: models
{{- with index . 0 }}
{{- if gt (len (compact (list .persistentVolumeClaim .image .fetch.image))) 1 }}
{{- fail (printf "%s: want one of persistentVolumeClaim, image and fetch, got several" $key) }}
{{- else if .persistentVolumeClaim }}
persistentVolumeClaim:
  claimName: {{ .persistentVolumeClaim }}
  readOnly: true
{{- else if .image }}
image:
  reference: {{ .image }}
{{- else if .fetch.image }}
{{- $command := join " " .fetch.command }}
{{- if and (contains "/models" $command) (not (contains (printf "/models/%s" .path) $command)) }}
{{- fail (printf "%s: got a fetch.command that fills /models, and path %s: want /models/%s filled, which is what is served" $key .path .path) }}
{{- end }}
emptyDir: {}
{{- else }}
{{- fail (printf "%s: want persistentVolumeClaim, image or fetch: where `python -m export publish` wrote the repository" $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Fills the volume of models before anything starts: of a map like `models.fetch`. */ -}}
{{- define "fetchModels" -}}
name: fetch-models
image: {{ .image }}
command: {{- toYaml .command | nindent 2 }}
{{- with .envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml .resources | nindent 2 }}
securityContext: {{- include "containerSecurityContext" $ | nindent 2 }}
volumeMounts:
  - name: models
    mountPath: /models
  - name: tmp
    mountPath: /tmp
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

{{- /* Whom callers ask, in JSON: the gateway where there is one, and all replicas in turn otherwise. */ -}}
{{- define "asked" -}}
{{- $name := include "name" . -}}
{{- $asked := dict "service" $name "port" .Values.server.grpcPort "tls" .Values.tls "key" "tls" -}}
{{- $_ := set $asked "target" (printf "dns:///%s-headless.%s:%v" $name .Release.Namespace .Values.server.grpcPort) -}}
{{- $_ := set $asked "selector" (include "selector" .) -}}
{{- if .Values.gateway.enabled -}}
{{- $service := printf "%s-gateway" $name -}}
{{- $asked = dict "service" $service "port" .Values.gateway.grpcPort "tls" .Values.gateway.tls "key" "gateway.tls" -}}
{{- $_ := set $asked "target" (printf "%s.%s:%v" $service .Release.Namespace .Values.gateway.grpcPort) -}}
{{- $_ := set $asked "selector" (include "part" (list . "gateway")) -}}
{{- $_ := set $asked "tokens" .Values.gateway.tokens -}}
{{- end -}}
{{- toJson $asked -}}
{{- end }}

{{- /* An argument of what is to ask one release alone, while another is tried beside it. */ -}}
{{- define "stableOnly" -}}
{{- if .Values.canary.enabled -}}
- --metadata={{ (.Files.Get "files/shared.json" | fromJson).track }}=stable
{{- end }}
{{- end }}

{{- /* Who that is who asks: variables, and what is mounted, of "asked". */ -}}
{{- define "asked.environment" -}}
{{- if and .tls.secretName (not .tls.serverName) }}
{{- fail (printf "%s: want serverName, a name in the certificate, by which callers know it" .key) }}
{{- end }}
{{ include "environment" .tls }}
{{- if (.tokens).secretName }}
- name: ALEXNET_TOKEN_FILE
  value: /token/token
{{- end }}
{{- end }}

{{- define "asked.mounts" -}}
{{- if .tls.secretName }}
- name: tls
  mountPath: /tls
  readOnly: true
{{- end }}
{{- if (.tokens).secretName }}
- name: token
  mountPath: /token
  readOnly: true
{{- end }}
{{- end }}

{{- define "asked.volumes" -}}
{{- with .tls.secretName }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0444
{{- end }}
{{- with .tokens }}
{{- if .secretName }}
- name: token
  projected:
    defaultMode: 0444
    sources:
      {{- if .ownSecretName }}
      - secret: {name: {{ .ownSecretName }}, items: [{key: token, path: token}]}
      {{- else }}
      - serviceAccountToken: {audience: {{ .audience | quote }}, expirationSeconds: 3600, path: token}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Peers of a NetworkPolicy: who asks by values of this chart. */ -}}
{{- define "ownCallers" -}}
{{- range $part := list "test" (ternary "prober" "" .Values.prober.enabled) (ternary "bulk" "" .Values.bulk.enabled) (ternary "load-test" "" .Values.loadTest.enabled) | compact }}
- podSelector:
    matchLabels: {{- include "part" (list $ $part) | nindent 6 }}
{{- end }}
{{- end }}

{{- /* Of a part that asks: whom, and the cluster's DNS. */ -}}
{{- define "egressToAsked" -}}
{{- $asked := include "asked" . | fromJson -}}
- ports:
    - port: {{ $asked.port }}
  to:
    - podSelector:
        matchLabels: {{- $asked.selector | nindent 10 }}
{{ include "egressToDns" . }}
{{- end }}

{{- /* Ports are numbers in policies, as not every network plugin knows a container's names. */ -}}
{{- define "egressToDns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    # Of OpenShift's pods, behind their Service's 53.
    - {port: 5353, protocol: UDP}
    - {port: 5353, protocol: TCP}
  to: {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
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

{{- /* Of a call that is passed on to a cluster: list . "replicas". */ -}}
{{- define "gateway.route" -}}
{{- $cluster := index . 1 -}}
{{- with index . 0 -}}
cluster: {{ $cluster }}
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
  {{- if eq $cluster "canary" }}
  # What the canary loses, the replicas are asked.
  retry_priority:
    name: envoy.retry_priorities.previous_priorities
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig
      update_frequency: 1
  {{- end }}
# A slow one goes on, beside another attempt.
hedge_policy: {hedge_on_per_try_timeout: true}
{{- end }}
{{- end }}

{{- /* Of a cluster: what may be under way, of gateway.limits; a route's own cluster decides. */ -}}
{{- define "gateway.circuitBreakers" -}}
thresholds:
  - max_connections: {{ int64 .connections }}
    max_requests: {{ int64 .requests }}
    max_pending_requests: {{ int64 .requests }}
    # A replica that dies may have had half of what is under way; so as many again, and no storm.
    retry_budget: {budget_percent: {value: 100}, min_retry_concurrency: 16}
{{- end }}

{{- /* By what a client is known. */ -}}
{{- define "gateway.client" -}}
{{- with .Values.gateway }}{{ ternary "token" (ternary "certificate" "address" .tls.clientCertificates) (not (empty .tokens.secretName)) }}{{ end -}}
{{- end }}

{{- /* A bucket for each client: list .Values.gateway.rateLimit "address". */ -}}
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
      {{- else if eq $by "token" }}
      - metadata: {descriptor_key: token, metadata_key: {key: envoy.filters.http.jwt_authn, path: [{key: payload}, {key: sub}]}}
      {{- else }}
      - remote_address: {}
      {{- end }}
descriptors:
  # Whoever it is; of more than so many, who has not been seen for longest is forgotten.
  - entries: [{key: {{ ternary "remote_address" $by (eq $by "address") }}}]
    token_bucket: &{{ $by }}
      max_tokens: {{ int64 .burst }}
      tokens_per_fill: {{ int64 .requestsPerSecond }}
      fill_interval: 1s
max_dynamic_descriptors: {{ int64 .clients }}
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
