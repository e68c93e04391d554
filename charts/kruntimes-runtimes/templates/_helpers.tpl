{{/* A Runtime whose server takes --port and --work-dir; call with (list $ .Values.bash "bash"). */}}
{{- define "kruntimes-runtimes.runtime" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $image := $values.image -}}
{{- if not (or (contains "@" $image) (contains ":" (splitList "/" $image | last))) -}}
{{- $image = printf "%s:%s" $image $root.Chart.AppVersion -}}
{{- end -}}
apiVersion: kruntimes.io/v1alpha1
kind: Runtime
metadata:
  name: {{ $values.name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    app.kubernetes.io/name: {{ $root.Chart.Name }}
    app.kubernetes.io/instance: {{ $root.Release.Name }}
    app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
    app.kubernetes.io/managed-by: {{ $root.Release.Service }}
    app.kubernetes.io/component: {{ index . 2 }}
    helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
spec:
  replicas: {{ $values.replicas }}
  port: {{ $values.port }}
  {{- with $values.daemonImage }}
  daemonImage: {{ . | quote }}
  {{- end }}
  capacity:
    {{- toYaml $values.capacity | nindent 4 }}
  {{- with $values.allowedSecrets }}
  allowedSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.allowedConfigMaps }}
  allowedConfigMaps:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  template:
    {{- if or $values.podLabels $values.podAnnotations }}
    metadata:
      {{- with $values.podLabels }}
      labels:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    spec:
      {{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "serviceAccountName" }}
      {{- with index $values $field }}
      {{ $field }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: runtime
          image: {{ $image | quote }}
          imagePullPolicy: {{ $values.pullPolicy }}
          args:
            - {{ printf "--port=%d" (int $values.port) | quote }}
            - --work-dir=/workspace
            {{- with $values.preload }}
            - {{ printf "--preload=%s" (join "," .) | quote }}
            {{- end }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
{{- end -}}
