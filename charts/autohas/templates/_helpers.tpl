{{- define "autohas.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "autohas.selector" -}}
app.kubernetes.io/name: autohas-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "autohas.labels" -}}
{{ include "autohas.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: autohas
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* A digest names one image forever; a tag next to it would have no effect. */}}
{{- define "autohas.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What is not empty, as JSON under the names of spec.trainer. */}}
{{- define "autohas.trainerDefaults" -}}
{{- $given := dict }}
{{- range $field, $value := .Values.trainer.defaults }}
{{- if $value }}{{ $_ := set $given $field $value }}{{ end }}
{{- end }}
{{- toJson $given -}}
{{- end -}}

{{/* Names as a list in CEL; the schema of the values lets no quote into them. */}}
{{- define "autohas.cel" -}}
[{{ range $index, $name := . }}{{ if $index }}, {{ end }}'{{ $name }}'{{ end }}]
{{- end -}}

{{/* Of a policy's matchConstraints: with watchNamespaces only these. */}}
{{- define "autohas.servedNamespaces" -}}
{{- if .Values.watchNamespaces }}
namespaceSelector:
  matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson .Values.watchNamespaces }}}
{{- end }}
{{- end -}}

{{- define "autohas.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "autohas.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end -}}

{{/* The operator's rights in a namespace that it serves: no secrets, no wildcards, pods only read. */}}
{{- define "autohas.rules" -}}
- apiGroups: [autohas.dev]
  resources: [autohassearches]
  verbs: [get, list, watch]
- apiGroups: [autohas.dev]
  resources: [autohassearches/status]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, delete]
# The holder of this Lease serves the namespace. Only this name: other Leases belong to controllers and nodes.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [autohas-operator]
  verbs: [get, patch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
{{- end -}}
