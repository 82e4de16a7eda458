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

{{- define "environment" -}}
- name: PYTHONDONTWRITEBYTECODE
  value: "1"
- name: PYTHONUNBUFFERED
  value: "1"
{{- with .Values.tls }}
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
{{- end }}
