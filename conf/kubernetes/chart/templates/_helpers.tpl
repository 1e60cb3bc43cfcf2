{{- define "sallyport.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "sallyport.selector" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sallyport.labels" -}}
{{ include "sallyport.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What the gateway reads of namespaces: only `namespaces` where there are any. */}}
{{- define "sallyport.namespacedRules" -}}
- apiGroups: [""]
  resources: [services, secrets, configmaps]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# What is rejected is told by events as well.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, get, update]
{{- if .Values.ingress }}
# `get` is for writing status: what is there now is read first.
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
{{- end }}
{{- if .Values.gatewayApi }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes, grpcroutes, tlsroutes]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants, backendtlspolicies]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways/status, httproutes/status, grpcroutes/status, tlsroutes/status]
  verbs: [patch]
# This gateway's own kinds: definitions.yaml.
- apiGroups: [sallyport.dev]
  resources: [sallyportfilters, sallyportpolicies]
  verbs: [get, list, watch]
- apiGroups: [sallyport.dev]
  resources: [sallyportfilters/status, sallyportpolicies/status]
  verbs: [patch]
{{- end }}
{{- end -}}

{{/* What of the cluster is in no namespace. */}}
{{- define "sallyport.clusterRules" -}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- if .Values.ingress }}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [list, watch]
{{- end }}
{{- if .Values.gatewayApi }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch]
{{- end }}
{{- end -}}

{{/* The gateway's file. */}}
{{- define "sallyport.config" -}}
{{- $kubernetes := dict "port_offset" (int .Values.portOffset) "ingress_class" .Values.ingressClass "gateway_controller" .Values.gatewayController -}}
{{- if .Values.ingress -}}
{{- $_ := set $kubernetes "ingress" (dict "http" "0.0.0.0:9080" "https" "0.0.0.0:9443") -}}
{{- end -}}
{{- if .Values.namespaces -}}
{{- $_ := set $kubernetes "namespaces" .Values.namespaces -}}
{{- end -}}
{{- $file := deepCopy .Values.config -}}
{{- $_ := set $file "listeners" (list (dict "name" "health" "address" "0.0.0.0:8081" "virtual_hosts" (list "health"))) -}}
{{- if .Values.adminSecret -}}
{{- $_ := set $file "admin" (dict "address" "0.0.0.0:9901" "token_file" "/run/secrets/sallyport/token" "read_token_file" "/run/secrets/sallyport/read-token") -}}
{{- else -}}
{{- $_ := set $file "admin" (dict "address" "unix:/run/sallyport/admin.sock") -}}
{{- end -}}
{{- $_ := set $file "shutdown" (dict "delay" (printf "%ds" (int .Values.drain.delay)) "deadline" (printf "%ds" (int .Values.drain.deadline))) -}}
{{- $_ := set $file "providers" (dict "kubernetes" $kubernetes) -}}
{{- $route := dict "name" "healthz" "match" (dict "path" (dict "exact" "/healthz")) "respond" (dict "status" 200) -}}
{{- $_ := set $file "virtual_hosts" (list (dict "name" "health" "domains" (list "*") "routes" (list $route))) -}}
{{- if not (hasKey $file "log") -}}
{{- $_ := set $file "log" (dict "format" "json") -}}
{{- end -}}
{{- if .Values.classifier.enabled -}}
{{- $_ := set $file "classifier" (dict "pin_path" "/sys/fs/bpf/sallyport") -}}
{{- end -}}
{{ toYaml $file }}
{{- end -}}
