"""Checks policies by rule, where neither GitHub's tokens nor EventBridge's deliveries can be tried.

The rules are written from AWS's and GitHub's pages, and share nothing with the template.
"""

from judge import Wrong, agree

ISSUER = "token.actions.githubusercontent.com"


def check_push_role(trust, rights, provider, subject, stack):
    """Checks that one subject of GitHub's may take the role, and that the role may push and follow and nothing else."""
    check_trust(trust, provider, subject)
    bucket = f"arn:aws:s3:::{stack['StagingBucketName']}"
    archives = ({f"{bucket}/uploads/*", f"{bucket}/plans/*"}, None)
    check_rights(rights, {"s3:PutObject": archives, "s3:AbortMultipartUpload": archives}, [stack["SiteName"]], stack)


def check_preview_role(trust, rights, provider, repository, stack):
    """Checks that pull requests may take the role, and that it may push previews and follow them and nothing else."""
    check_trust(trust, provider, f"repo:{repository}:pull_request")
    archives = ({f"arn:aws:s3:::{stack['StagingBucketName']}/uploads/previews/*"}, None)
    parts = [f"{stack['SiteName']}/previews/*"]
    check_rights(rights, {"s3:PutObject": archives, "s3:AbortMultipartUpload": archives}, parts, stack)


def check_trust(trust, provider, subject):
    [statement] = trust["Statement"]
    agree("who vouches", statement["Principal"], {"Federated": provider})
    agree("how the role is taken", statement["Action"], "sts:AssumeRoleWithWebIdentity")
    # StringLike or a missing claim would let in other repositories, or pull requests.
    claims = {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": subject}
    agree("conditions of the trust policy", statement["Condition"], {"StringEquals": claims})


def check_rights(rights, uploads, parts, stack):
    """Checks that a role has these rights to upload, and may read these parts of the ledger, and nothing else."""
    granted = {}
    for statement in rights["Statement"]:
        agree("effect", statement["Effect"], "Allow")
        resources = statement["Resource"]
        for action in one_or_more(statement["Action"]):
            granted[action] = (set(one_or_more(resources)), statement.get("Condition"))
    own_items = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": parts}}
    table = stack.dynamodb.describe_table(TableName=stack["LedgerName"])["Table"]["TableArn"]
    function = stack.function.get_function_configuration(FunctionName=stack["FunctionName"])["FunctionArn"]
    wanted = {
        **uploads,
        "dynamodb:GetItem": ({table}, own_items),
        "dynamodb:Query": ({table}, own_items),
        "lambda:GetFunctionConfiguration": ({function}, None),
    }
    agree("rights of the role", granted, wanted)


def check_topic(topic, policy, key_policy):
    """Checks that EventBridge, and no other service and no other account, may publish to an encrypted topic."""
    services = check_service(policy, "sns:Publish")
    agree("what it may publish to", set(one_or_more(services["Resource"])), {topic})
    encrypts = check_service(key_policy, "kms:Decrypt")
    agree("what it may do with the key", set(encrypts["Action"]), {"kms:GenerateDataKey*", "kms:Decrypt"})


def check_service(policy, action):
    """Returns the one statement for EventBridge. It has no condition: EventBridge supports none for SNS."""
    found = None
    for statement in policy["Statement"]:
        agree("effect", statement["Effect"], "Allow")
        principal = statement["Principal"]
        if principal == "*" or "*" in one_or_more(principal.get("AWS", [])):
            raise Wrong(f"everybody may {statement['Action']}")
        if "Service" in principal:
            agree("service", principal, {"Service": "events.amazonaws.com"})
            agree("condition", statement.get("Condition"), None)
            found = statement
    if found is None or action not in one_or_more(found["Action"]):
        raise Wrong(f"EventBridge may not {action}")
    return found


def one_or_more(value):
    return value if isinstance(value, list) else [value]
