# What the pipeline was started with, as data: in the action's configuration it would be pasted into JSON text (main.tf).
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineExecution.html
aws codepipeline get-pipeline-execution --pipeline-name "$PIPELINE_NAME" --pipeline-execution-id "$PIPELINE_EXECUTION_ID" --output json > pipeline-execution.json
python3 -I "$PACKAGE" allow-stale
export ALLOW_STALE_PLAN="$(cat allow-stale.txt)"

# The plan is made by the code that Parse runs, in a function that can read and nothing else (docs/adr/0007-plan-in-a-function.md).
aws lambda invoke --function-name "$PLAN_FUNCTION" --payload fileb://execution-input.json --cli-read-timeout "$PLAN_SECONDS" plan.json > invocation.json
python3 -I "$PACKAGE" show
export PLAN_KEY="plans/$PIPELINE_EXECUTION_ID/plan.json"
export PLAN_VERSION_ID="$(python3 -I "$OBJECTS" put-object "$PLAN_KEY" plan.json application/json)"
test -n "$PLAN_VERSION_ID" && test "$PLAN_VERSION_ID" != None
aws s3api put-object --bucket "$ARTIFACT_BUCKET" --key "plans/$PIPELINE_EXECUTION_ID/plan.html" --body plan.html --content-type "text/html; charset=utf-8" > /dev/null

# Stops here when an item is blocked: nobody should approve what can't be deployed.
python3 -I "$PACKAGE" submit
export PLAN_SUMMARY="$(cat summary.txt)" PLAN_DIGEST="$(cat digest.txt)" MANIFEST_SHA256="$(sha256sum deployment.json | cut -d " " -f 1)"
