{{- /* What more than one template says. Each yields text; numbers of `nindent` are the callers' business. */ -}}

{{- define "wayswitch.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .Values.image.repository }}@{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- /* Never to change: a DaemonSet's selector cannot. */ -}}
{{- define "wayswitch.selector" -}}
app.kubernetes.io/name: wayswitch
app.kubernetes.io/component: agent
{{- end -}}

{{- define "wayswitch.labels" -}}
app.kubernetes.io/name: wayswitch
app.kubernetes.io/part-of: wayswitch
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Who may: the one subject of every binding. */ -}}
{{- define "wayswitch.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: wayswitch
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* Where every pod of ours runs, the agent's and that of the clean-up; affinity is their own. */ -}}
{{- define "wayswitch.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Where the clean-up runs: as the agents, but not beside one. An agent that is stopping writes its state once more, and would
do so behind the back of what cleans. */ -}}
{{- define "wayswitch.afterAgents" -}}
{{- $after := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (include "wayswitch.selector" . | fromYaml)) -}}
{{- $never := dict "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $after)) -}}
affinity:
  {{- mergeOverwrite (deepCopy .Values.affinity) $never | toYaml | nindent 2 }}
{{- end -}}

{{- /* Root owns pins and folders of the node; without them nobody has to be root. Not empty: yes. */ -}}
{{- define "wayswitch.root" -}}
{{- if or .Values.redirect.enabled .Values.state.hostPath .Values.admin.hostPath }}yes{{ end -}}
{{- end -}}

{{- /* Settings that exclude each other, said before anything is installed. */ -}}
{{- define "wayswitch.check" -}}
{{- if and .Values.redirect.enabled (not .Values.redirect.cgroup) -}}
{{- fail "redirect.cgroup is empty: name the cgroup whose connections are redirected, for instance kubepods.slice/kubepods-besteffort.slice" -}}
{{- end -}}
{{- if and .Values.ztunnel.enabled (not .Values.state.hostPath) (eq .Values.ztunnel.certificate.source "self") -}}
{{- fail "ztunnel.certificate.source self needs state.hostPath: ztunnel reads the root certificate from that folder of its node" -}}
{{- end -}}
{{- if and .Values.ztunnel.enabled (eq .Values.ztunnel.auth "issuerKeys") (not (and .Values.ztunnel.issuer .Values.ztunnel.issuerKeys)) -}}
{{- fail "ztunnel.auth issuerKeys needs ztunnel.issuer and ztunnel.issuerKeys" -}}
{{- end -}}
{{- if and (eq .Values.ztunnel.certificate.source "certManager") (not .Values.ztunnel.certificate.issuerRef) -}}
{{- fail "ztunnel.certificate.issuerRef is empty: name the Issuer or ClusterIssuer" -}}
{{- end -}}
{{- end -}}

{{- define "wayswitch.cleanup.annotations" -}}
helm.sh/hook: post-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
