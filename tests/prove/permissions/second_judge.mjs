// Judges the recorded requests again, by a program that is not ours: https://github.com/cloud-copilot/iam-simulate
// node second_judge.mjs <record.json>: for each request one line of JSON, [its place, verdict, the condition keys it passed over].
import { readFileSync } from "node:fs";
import { runSimulation } from "@cloud-copilot/iam-simulate";

const record = JSON.parse(readFileSync(process.argv[2], "utf8"));
const policy = (id) => (id === null ? undefined : JSON.parse(record.policies[id]));

async function judge(request, session) {
  const contextVariables = {};
  for (const [key, values] of Object.entries(request.context)) {
    contextVariables[key] = values.length === 1 ? values[0] : values;
  }
  const boundary = policy(request.boundary);
  const answer = await runSimulation(
    {
      request: {
        principal: request.caller.arn,
        action: request.action,
        resource: { resource: request.resource, accountId: request.owner || request.caller.account },
        contextVariables,
      },
      identityPolicies: request.identity.map(([name, id]) => ({ name, policy: policy(id) })),
      sessionPolicy: session,
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: policy(request.resourcePolicy),
      permissionBoundaryPolicies: boundary === undefined ? undefined : [{ name: "boundary", policy: boundary }],
    },
    {},
  );
  if (answer.resultType === "error") return ["error", [], JSON.stringify(answer.errors)];
  const results = answer.results ?? [answer.result];
  return [answer.overallResult, results.flatMap((one) => one.ignoredContextKeys ?? [])];
}

for (const [place, request] of record.requests.entries()) {
  // Several session policies are one: their statements together.
  const sessions = (request.session ?? []).map(policy);
  const statements = sessions.flatMap((one) => one.Statement);
  const session = request.session === null ? undefined : { Version: "2012-10-17", Statement: statements };
  console.log(JSON.stringify([place, ...(await judge(request, session))]));
}
