{{- define "kruntimes.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: the longest suffix must fit into 63. */}}
{{- define "kruntimes.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "kruntimes.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kruntimes.labels" -}}
app.kubernetes.io/name: {{ include "kruntimes.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What a Service or a Deployment selects; call with (list $ "scheduler"). */}}
{{- define "kruntimes.selector" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
app.kubernetes.io/name: {{ include "kruntimes.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ $component }}
app: kruntimes-{{ $component }}
{{- end -}}

{{- define "kruntimes.componentLabels" -}}
{{ include "kruntimes.labels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
app: kruntimes-{{ index . 1 }}
{{- end -}}

{{/* An image with its tag; call with (list $ .Values.scheduler.image). */}}
{{- define "kruntimes.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 | default $root.Values.image -}}
{{- if or (contains "@" $image) (contains ":" (splitList "/" $image | last)) -}}
{{- $image -}}
{{- else -}}
{{- printf "%s:%s" $image $root.Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{- define "kruntimes.port" -}}
{{- splitList ":" . | last -}}
{{- end -}}

{{/* The user name of a component's ServiceAccount; call with (list $ "scheduler"). */}}
{{- define "kruntimes.user" -}}
{{- $root := index . 0 -}}
system:serviceaccount:{{ $root.Release.Namespace }}:{{ include "kruntimes.fullname" $root }}-{{ index . 1 }}
{{- end -}}

{{/* The Deployment of a component; call with (list $ "scheduler" (list of arguments of its own)). */}}
{{- define "kruntimes.deployment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index $root.Values $component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "kruntimes.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kruntimes.componentLabels" (list $root $component) | nindent 4 }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels:
      {{- include "kruntimes.selector" (list $root $component) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "kruntimes.componentLabels" (list $root $component) | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "kruntimes.fullname" $root }}-{{ $component }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.podSecurityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ $component }}
          image: {{ include "kruntimes.image" (list $root $values.image) | quote }}
          imagePullPolicy: {{ $values.pullPolicy }}
          args:
            - serve
            - {{ $component }}
            {{- if $values.leaderElect }}
            - --leader-elect
            {{- end }}
            - {{ printf "--metrics-bind-address=%s" $values.metricsBindAddress | quote }}
            - {{ printf "--health-probe-bind-address=%s" $values.healthProbeBindAddress | quote }}
            {{- range concat (index . 2) $values.extraArgs }}
            - {{ . | quote }}
            {{- end }}
          env:
            - name: POD_NAMESPACE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.namespace
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
          ports:
            - name: metrics
              containerPort: {{ include "kruntimes.port" $values.metricsBindAddress }}
            - name: probes
              containerPort: {{ include "kruntimes.port" $values.healthProbeBindAddress }}
          livenessProbe:
            httpGet:
              path: /healthz
              port: probes
            initialDelaySeconds: 5
            periodSeconds: 10
          readinessProbe:
            httpGet:
              path: /readyz
              port: probes
            periodSeconds: 5
          {{- with $values.securityContext }}
          securityContext:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
{{- end -}}

{{/* ServiceAccount, binding of the ClusterRole, and the Role for the leader's Lease; call with (list $ "scheduler"). */}}
{{- define "kruntimes.account" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $name := printf "%s-%s" (include "kruntimes.fullname" $root) $component -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kruntimes.componentLabels" . | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "kruntimes.componentLabels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}-leader
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kruntimes.componentLabels" . | nindent 4 }}
rules:
  - apiGroups: ["coordination.k8s.io"]
    resources: ["leases"]
    resourceNames: ["kruntimes-{{ $component }}.kruntimes.com"]
    verbs: ["get", "list", "watch", "update"]
  # RBAC can't say the name of what is to be created.
  - apiGroups: ["coordination.k8s.io"]
    resources: ["leases"]
    verbs: ["create"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}-leader
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kruntimes.componentLabels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}-leader
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end -}}
