{{- define "z4.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "z4.peers" -}}
{{ include "z4.fullname" . }}-peers
{{- end }}

{{- /* What the name of a pod ends with in DNS. */ -}}
{{- define "z4.domain" -}}
{{ include "z4.peers" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{- define "z4.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "z4.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "z4.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The peer ports of the peers that found the cluster; it does not change with `replicas`. */ -}}
{{- define "z4.join" -}}
{{- $names := list -}}
{{- range $n := until (int .Values.bootstrapReplicas) -}}
{{- $names = append $names (printf "%s-%d.%s:6356" (include "z4.fullname" $) $n (include "z4.domain" $)) -}}
{{- end -}}
{{- join "," $names -}}
{{- end }}

{{- define "z4.scheme" -}}
{{ ternary "HTTPS" "HTTP" (not (empty .Values.tls.service.secretName)) }}
{{- end }}

{{- /* What cannot work is refused here, with what to set. */ -}}
{{- define "z4.check" -}}
{{- if and (not .Values.tls.insecure) (or (empty .Values.tls.service.secretName) (empty .Values.tls.peer.secretName)) -}}
{{- fail "tls: set tls.service.secretName and tls.peer.secretName, or tls.insecure=true to try z4 in a network of your own: ports without TLS are not opened on other addresses than loopback" -}}
{{- end -}}
{{- if and .Values.tls.service.clientCA (empty .Values.tls.service.secretName) -}}
{{- fail "tls.service.clientCA: set tls.service.secretName, too: certificates of clients are asked for with TLS alone" -}}
{{- end -}}
{{- if and .Values.auth.rootTokenSecretName (not .Values.auth.enabled) -}}
{{- fail "auth.rootTokenSecretName: set auth.enabled=true, too: nobody asks for the token otherwise" -}}
{{- end -}}
{{- if and .Release.IsInstall (lt (int .Values.replicas) (int .Values.bootstrapReplicas)) -}}
{{- fail (printf "replicas is %d and bootstrapReplicas %d: the cluster is founded when so many peers are up; set bootstrapReplicas to %d" (int .Values.replicas) (int .Values.bootstrapReplicas) (int .Values.replicas)) -}}
{{- end -}}
{{- range $name := list "Z4_PEER_ID" "Z4_PEER_ADVERTISE_ADDR" "Z4_BOOTSTRAP_CLUSTER" "Z4_JOIN" "Z4_BOOTSTRAP_EXPECT" "Z4_ON_REMOVED" "Z4_DB_DATA_DIR" "Z4_PEER_DATA_DIR" "Z4_SERVICE_PORT" "Z4_PEER_PORT" "Z4_PEER_LANE_PORT" "Z4_METRICS_PORT" "Z4_TLS_CLIENT_AUTH" -}}
{{- if hasKey $.Values.env $name -}}
{{- fail (printf "env.%s: the chart sets this variable; leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- end }}
