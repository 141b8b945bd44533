{{- define "corelane.name" -}}
{{- $name := .Release.Name -}}
{{- if contains "corelane" $name }}{{ $name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-corelane" $name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "corelane.selector" -}}
app.kubernetes.io/name: corelane
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "corelane.labels" -}}
{{ include "corelane.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "corelane.account" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "corelane.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end }}

{{/* The part of the configuration that the chart writes: what has to fit the pod. */}}
{{- define "corelane.main" -}}
{{- $end := .Values.termination -}}
include = ["site-*.toml"]

[runtime]
scheduler = {{ ternary "tokio" .Values.runtime.scheduler (eq .Values.runtime.scheduler "tokio-per-core") | quote }}
cores = {{ if kindIs "string" .Values.runtime.cores }}{{ .Values.runtime.cores | quote }}{{ else }}{{ .Values.runtime.cores | int }}{{ end }}
pin = {{ .Values.runtime.pin }}
on_switch = {{ .Values.runtime.onSwitch | quote }}
drain_timeout = "{{ $end.drainSeconds | int }}s"
{{- if gt ($end.closeOverSeconds | int) 0 }}
close_over = "{{ $end.closeOverSeconds | int }}s"
{{- end }}
watch = true
{{- if eq .Values.runtime.scheduler "tokio-per-core" }}

[runtime.tokio]
mode = "per-core"
{{- end }}

[admin]
listen = "*:{{ .Values.admin.port | int }}"
socket = "/run/corelane/admin.sock"
{{- with .Values.admin.hosts }}
hosts = {{ toJson . }}
{{- end }}
{{- end }}
