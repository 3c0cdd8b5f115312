# CodeCommit has the author; no variable of a connection's source action that AWS documents names one.
# Nothing depends on the author, so a refusal to tell must not stop a release.
export AUTHOR="$(aws codecommit get-commit --repository-name "$REPOSITORY_NAME" --commit-id "$COMMIT_ID" --query commit.author.name --output text || true)"
