"""What is said of a mistake names the mistake and what to write, for each of its kind."""

from __future__ import annotations

import ast
import json
import tempfile
from pathlib import Path

import botocore
import jsonschema
import pytest
from ecs_release.manifest import Item, Problem, Rule, Schedule, Service, from_document, load
from ecs_release.manifest.file import load_file
from ecs_release.manifest.images import image_problem
from ecs_release.manifest.problem import HOLE, spelled_out
from ecs_release.manifest.schema import deployment_schema
from hypothesis import given
from hypothesis import strategies as st

SERVICE = "services:\n  - service: api\n    clusterName: shop\n    serviceName: api\n    image: api:1.2.3\n"
DOCUMENT = {"service": "api", "clusterName": "shop", "serviceName": "api", "image": "api:1.2.3"}
SCHEMA = jsonschema.Draft7Validator(deployment_schema())


def errors(text: str) -> tuple[Problem, ...]:
    return load(text.encode()).errors


def one(text: str) -> Problem:
    (problem,) = errors(text)
    return problem


# --- keys of one's own ---

OWN_NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
VALUES = st.sampled_from(
    ("&a {clusterName: shop}", "&a", "api", "{clusterName: shop}", "'api'", "[a, b]", "&a [x: y]")
)


@given(OWN_NAMES, VALUES, st.integers(0, 2))
def test_a_key_of_ones_own_needs_a_space_behind_its_colon(name: str, value: str, comments: int) -> None:
    problem = one("# a comment\n" * comments + f"x-{name}:{value}\n{SERVICE}")

    assert (problem.code, problem.line, problem.column) == ("E039", comments + 1, len(name) + 4)
    assert problem.message == f"no space after the colon; write x-{name}: {value}"


@given(st.text(max_size=20))
def test_a_key_of_ones_own_has_a_name_that_can_be_seen_and_typed(name: str) -> None:
    document = {f"x-{name}": 1, "services": [DOCUMENT]}
    is_right = name.isascii() and all(c.isalnum() or c in "_.-" for c in name)

    validation = from_document(document)
    assert (validation.manifest is not None) == is_right
    assert SCHEMA.is_valid(document) or not is_right
    assert [problem.code for problem in validation.errors] == ([] if is_right else ["E053"])


@pytest.mark.parametrize("above", ["", "# comment\n", "\n\n"])
@pytest.mark.parametrize("text", [": x", "- : x", "  : x", "a b:c d: e"])
def test_the_first_line_continues_nothing(above: str, text: str) -> None:
    problem = errors(f"{above}{text}\n{SERVICE}")[0]

    assert "line 0" not in problem.message
    assert problem.code != "E040"


# --- a file that is not there ---


@pytest.mark.parametrize(
    ("asked", "there", "advice"),
    [
        ("deploy.yaml", ["deployment.yaml"], 'did you mean "{}deployment.yaml"?'),
        ("manifest.yml", ["deployment.yml", "README.md"], 'did you mean "{}deployment.yml"?'),
        ("deployment.yml", ["deployment.yaml", "deployment.tf"], 'did you mean "{}deployment.yaml"?'),
        (".deployment.yaml", [".bashrc", "deployment.yaml"], 'did you mean "{}deployment.yaml"?'),
        (".deployment.yaml", [".bashrc", ".profile", ".yaml"], None),
        ("deployment.yaml", ["deployment.lock", "deployment.tf", "deployment.md", "deployment"], None),
        (
            "deployment.yaml",
            ["deployment.yml", "deployment.lock"],
            'rename "{}deployment.yml" to deployment.yaml',
        ),
        ("deployment.yaml", ["Deployment.yaml"], 'rename "{}Deployment.yaml" to deployment.yaml'),
        ("deployment.yaml", ["deployment.yaml.txt"], 'rename "{}deployment.yaml.txt" to deployment.yaml'),
        (
            "deployment.yaml",
            ["deploymnet.yaml", "other.yaml"],
            'rename "{}deploymnet.yaml" to deployment.yaml',
        ),
        ("shop.yaml", ["shop.yml", "deployment.yaml"], 'rename "{}shop.yml" to shop.yaml'),
        ("deployment.yaml", ["values.yaml", "compose.yml"], None),
    ],
)
def test_the_file_that_was_meant_is_named(
    tmp_path: Path, asked: str, there: list[str], advice: str | None
) -> None:
    for name in there:
        (tmp_path / name).touch()

    (problem,) = load_file(tmp_path / asked).errors
    expected = (
        advice.format(f"{tmp_path}/")
        if advice
        else "the manifest is expected there; create it or name another path"
    )
    assert problem.message == f'there is no "{tmp_path / asked}"; {expected}'


@given(
    st.from_regex(r"\.?[a-z]{0,8}(\.yaml|\.yml|)", fullmatch=True).filter(lambda name: name.strip(".")),
    st.sets(
        st.sampled_from((".lock", ".tf", ".md", "", ".json", ".bashrc", ".yaml.d", ".yamlx")), max_size=4
    ),
)
def test_only_yaml_files_are_proposed(asked: str, endings: set[str]) -> None:
    stem = asked.removesuffix(".yaml").removesuffix(".yml")
    with tempfile.TemporaryDirectory() as folder:
        for name in {stem + ending for ending in endings} - {asked, "", "."}:
            (Path(folder) / name).touch()

        message = load_file(Path(folder) / asked).errors[0].message
        assert message.endswith("; the manifest is expected there; create it or name another path")


@pytest.mark.parametrize("single", ["service", "image"])
def test_images_beside_one_of_the_keys_they_stand_for_is_one_mistake(single: str) -> None:
    entry = f"  - {single}: {'api' if single == 'service' else 'api:1'}\n    images: {{a: a:1}}\n"
    problem = one(f"services:\n{entry}    clusterName: shop\n    serviceName: api\n")

    assert problem.code == "E057"


# --- keys that stand at the top level ---

ENTRY = {"service": "api", "clusterName": "shop", "serviceName": "api", "image": "api:1.2.3"}


def entry(keys: dict[str, str]) -> str:
    return "  - " + "\n    ".join(f"{name}: {value}" for name, value in keys.items()) + "\n"


@given(
    st.integers(0, 3),
    st.sets(st.sampled_from(list(ENTRY)), max_size=3),
    st.sets(st.sampled_from(list(ENTRY)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_key_beside_the_lists_is_missing_in_the_entry_above_it_alone(
    others: int, misplaced: set[str], missing: set[str], is_first: bool
) -> None:
    """The entry above a misplaced key was meant to have it; what other entries miss, or it misses beside that, is said."""
    wrong = entry({name: value for name, value in ENTRY.items() if name not in missing} | {"wave": "1"})
    above = entry({name: value for name, value in ENTRY.items() if name not in misplaced} | {"target": "eu"})
    right = "".join(entry({**ENTRY, "serviceName": f"s{number}"}) for number in range(others))
    body = wrong + right + above if is_first else right + above
    top = "".join(f"{name}: {ENTRY[name]}\n" for name in sorted(misplaced))
    behind = "" if is_first else "tasks:\n  - image: a:1\n    service: a\n"

    found = errors(f"services:\n{body}{top}timeoutMinutes: 1\n{behind}")
    said = [problem for problem in found if problem.code == "E054"]
    assert len([problem for problem in found if problem.code == "E059"]) == len(misplaced) + 1
    if is_first:
        both = {"service", "image"} <= missing
        assert len(said) == len(missing) - both
        assert all(problem.path.startswith("services[0]") for problem in said)
    else:
        assert [problem.path for problem in said] == ["tasks[0].cwRuleName"]


# --- characters that text must not contain ---


@given(st.integers(0, 120), st.integers(0, 5), st.sampled_from("\x07\x1b\ufeff\u2028\ufdd0"), st.booleans())
def test_a_forbidden_character_in_a_value_is_said_however_many_stand_above_it(
    above: int, behind: int, character: str, is_in_one_line: bool
) -> None:
    comments = f"# {character}{'' if is_in_one_line else chr(10)}" * above
    text = f"{comments}\n{SERVICE}# {character * behind}\n".replace("shop", f"sh{character}op")

    found = errors(text)
    line = text[: text.index("clusterName")].count("\n") + 1
    assert {problem.code for problem in found} == {"E005"}
    assert (line, 20, "services[0].clusterName") in {(p.line, p.column, p.path) for p in found}
    listed = [problem for problem in found if "U+" in problem.message]
    more = [problem for problem in found if "from here on" in problem.message]
    everything = above + 1 + behind
    assert len(listed) == min(everything, 50)
    assert [problem.message.split()[3] for problem in more] == (
        [str(everything - 50)] if everything > 50 else []
    )


@given(st.integers(49, 60), st.integers(1, 3))
def test_a_comment_that_misleads_is_said_however_many_characters_stand_above_it(
    above: int, comments: int
) -> None:
    text = "# \x07\n" * above + "# \u202e\n" * comments + SERVICE

    assert [problem.code for problem in load(text.encode()).warnings] == ["W103"] * comments


# --- a key beside the one that it is like ---


def other_spellings(name: str) -> list[str]:
    """Every one of them is nearer to the name than to any other."""
    return [name.upper(), name[0].upper() + name[1:], f"{name[:2]}{name[3]}{name[2]}{name[4:]}", f"{name}_"]


@given(st.sampled_from(list(ENTRY)), st.integers(0, 3), st.booleans())
def test_a_key_beside_the_one_that_it_is_like_is_to_be_removed(
    name: str, spelling: int, is_first: bool
) -> None:
    """Not taken for another key, whose absence or presence would then be a second mistake."""
    other = other_spellings(name)[spelling]
    keys = {other: "x", **ENTRY} if is_first else {**ENTRY, other: "x"}

    problem = one(f"services:\n{entry(keys)}")
    assert (problem.code, problem.path) == ("E053", f"services[0].{other}")
    assert problem.message == f'unknown key "{other}"; {name} is there too, so remove this one'


def test_a_list_beside_the_one_that_it_is_like_is_not_just_to_be_removed() -> None:
    problem = one(f"{SERVICE}Services:\n{entry(ENTRY)}")

    assert problem.message == 'unknown key "Services"; services is there too, so move its entries there'


# --- names as our own output writes them, and as templates leave them ---

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith("arn")
)
TASK = {"service": "a", "image": "a:1"}


def named(kind: str, parts: list[str]) -> Item:
    images = {"a": "a:1"}
    if kind == "service":
        return Service(images=images, cluster=parts[0], service=parts[1])
    if kind == "schedule":
        return Schedule(images=images, group=parts[0], schedule=parts[1])
    return Rule(images=images, event_bus=parts[0], rule=parts[1], target_id=parts[2])


@given(
    st.sampled_from(
        [
            ("service", "serviceName", "clusterName: {} and serviceName: {}"),
            ("service", "clusterName", "clusterName: {} and serviceName: {}"),
            ("schedule", "scheduleName", "scheduleGroup: {} and scheduleName: {}"),
            ("schedule", "scheduleGroup", "scheduleGroup: {} and scheduleName: {}"),
            ("rule", "cwRuleName", "eventBusName: {} and cwRuleName: {}"),
        ]
    ),
    st.lists(NAMES, min_size=3, max_size=3),
)
def test_a_name_that_our_output_writes_is_taken_apart(how: tuple[str, str, str], parts: list[str]) -> None:
    kind, key, advice = how
    name = named(kind, parts).name
    document = (
        {"services": [{**ENTRY, key: name}]}
        if kind == "service"
        else {"tasks": [{**TASK, "cwRuleName": "r", key: name}]}
    )
    if kind == "schedule":
        document = {"tasks": [{**TASK, "scheduleName": "s", key: name}]}

    (problem,) = from_document(document).errors
    assert problem.code == "E071"
    assert problem.message.endswith(f'contains "/"; write {advice.format(*parts)}') or parts[0] == "default"


def test_a_rule_is_taken_apart_with_its_target() -> None:
    (problem,) = from_document({"tasks": [{**TASK, "cwRuleName": "orders/nightly#a.1"}]}).errors

    assert problem.message.endswith("; write eventBusName: orders and cwRuleName: nightly and targetId: a.1")


MARKS = ("${{{}}}", "${{{{ vars.{} }}}}", "$({})", "{{{{ {} }}}}")
MARKS_OF_NAMES = (*MARKS, "%{}%", "@{}@", "<{}>", "${}", "pre-${{{}}}")
WORDS = ("__{}__", "_{}_")


@given(
    st.sampled_from(["clusterName", "serviceName", "service", "target"]),
    st.sampled_from((*MARKS_OF_NAMES, *WORDS)),
    st.from_regex(r"[A-Z]{2,8}(_[A-Z]{2,8})?", fullmatch=True),
)
def test_a_placeholder_is_no_name(key: str, mark: str, word: str) -> None:
    (problem,) = from_document({"services": [{**ENTRY, key: mark.format(word)}]}).errors

    assert problem.code == "E071"
    assert problem.message.endswith(", and nothing fills it in; write the finished name")


@given(st.sampled_from((*MARKS, "4.0-${{{}}}")), st.from_regex(r"[A-Z]{2,8}", fullmatch=True))
def test_a_placeholder_is_no_label(mark: str, word: str) -> None:
    (problem,) = from_document({"release": mark.format(word), "services": [ENTRY]}).errors

    assert problem.message.endswith(", and nothing fills it in; write the finished text")


@pytest.mark.parametrize(
    "word", ["__NAME__", "__name__", "_REGION_", "REPLACE_ME", "replace-me", "CHANGEME", "ChangeMe"]
)
@pytest.mark.parametrize("key", ["serviceName", "target"])
def test_a_word_that_a_template_leaves_is_no_name(key: str, word: str) -> None:
    (problem,) = from_document({"services": [{**ENTRY, key: word}]}).errors

    assert "nothing fills it in" in problem.message


@pytest.mark.parametrize(
    "name", ["MY__OLD__API", "TODO", "api_v1", "_internal_", "TAG", "change-me-later", "VERSION_1", "__x"]
)
def test_honest_names_that_look_a_little_like_placeholders_stay(name: str) -> None:
    assert from_document({"services": [{**ENTRY, "serviceName": name}]}).errors == ()


@pytest.mark.parametrize(
    "label", ["costs $5", "$BIG release", "<b>4.0</b>", "50% faster", "{4.0}", "@team (see #12)", "a__b__c"]
)
def test_a_label_is_free_text(label: str) -> None:
    assert from_document({"release": label, "services": [ENTRY]}).errors == ()


# --- Regions and the hosts of their partitions ---

PARTITIONS = json.loads((Path(botocore.__file__).parent / "data" / "partitions.json").read_text())[
    "partitions"
]
HOSTS = [(one["id"], region, one["outputs"]["dnsSuffix"]) for one in PARTITIONS for region in one["regions"]]
SUFFIXES = {one["outputs"]["dnsSuffix"]: one["id"] for one in PARTITIONS}
DUAL_STACK = {"aws": "on.aws", "aws-us-gov": "on.aws", "aws-cn": "on.amazonwebservices.com.cn"}


@given(st.sampled_from(HOSTS), st.sampled_from(list(SUFFIXES)), st.sampled_from(["ecr", "ecr-fips"]))
def test_a_region_and_the_end_of_the_host_are_of_one_partition(
    host: tuple[str, str, str], suffix: str, kind: str
) -> None:
    partition, region, own = host
    if region.endswith("-global"):
        return
    problem = image_problem(f"123456789012.dkr.{kind}.{region}.{suffix}/a:1")
    if suffix == own:
        assert problem is None, partition
    else:
        assert problem is not None
        assert problem[0] == "E017"
        assert problem[1].endswith(f"; hosts there end in {own}")


@given(
    st.sampled_from([one for one in HOSTS if not one[1].endswith("-global")]),
    st.sampled_from(sorted(set(DUAL_STACK.values()))),
)
def test_the_same_with_dual_stack(host: tuple[str, str, str], suffix: str) -> None:
    problem = image_problem(f"123456789012.dkr-ecr.{host[1]}.{suffix}/a:1")

    assert (problem is None) == (DUAL_STACK.get(host[0]) == suffix)


# --- lengths, numbers, templates, what is written twice ---


@given(
    st.integers(250, 260),
    st.sampled_from(["", "registry.example/"]),
    st.sampled_from([":1", ":1.2.3", "@sha256:" + "0" * 64]),
)
def test_host_and_repository_have_at_most_255_characters_without_the_tag(
    length: int, host: str, tag: str
) -> None:
    problem = image_problem(host + "a" * (length - len(host)) + tag)

    assert (problem is None) == (length <= 255)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{{release: a, release: b, services: [{entry}]}}",
            'E038 "release" is written twice, both times in line 1; YAML',
        ),
        (
            "{{x-a: &a b, x-b: &a c, services: [{entry}]}}",
            "E035 the anchor &a is written twice, both times in line 1; give",
        ),
        (
            "release: a\nrelease: b\nservices: [{entry}]",
            'E038 "release" is written twice, in line 1 and in line 2; YAML',
        ),
    ],
)
def test_what_is_twice_in_one_line_is_not_said_to_be_in_two(text: str, said: str) -> None:
    problem = one(text.format(entry="{service: a, clusterName: c, serviceName: s, image: 'a:1'}"))

    assert f"{problem.code} {problem.message}".startswith(said)


def test_two_merge_keys_become_one_with_a_list_and_nothing_else_is_said() -> None:
    bases = "x-a: &a {clusterName: shop}\nx-b: &b {service: a, image: 'a:1'}\n"
    problem = one(f"{bases}services:\n- <<: *a\n  <<: *b\n  serviceName: s\n")

    assert problem.code == "E038"
    assert (
        problem.message
        == '"<<" is written twice, in line 4 and in line 5; write one with a list, <<: [*base, *other]'
    )


@given(st.lists(st.sampled_from(("a", "'a b'", "[x]")), min_size=1, max_size=5))
def test_a_merge_of_what_has_no_keys_is_said_once(values: list[str]) -> None:
    problem = one(f"x-l: &l [{', '.join(values)}]\nservices:\n- <<: *l\n  serviceName: s\n")

    assert (problem.code, problem.line) == ("E035", 3)
    assert "too)" not in problem.message


@given(st.from_regex(r"-?0{1,3}[0-9]{1,3}", fullmatch=True))
def test_a_number_with_zeros_in_front_is_told_to_lose_them(number: str) -> None:
    problem = one(f"{SERVICE}    wave: {number}\n")

    assert problem.code == "E073"
    assert problem.message.startswith(f"{number} has zeros in front")
    assert problem.message.endswith(", without them")


@pytest.mark.parametrize("template", ["{% if prod %}", "{%- for x in y -%}", "{% raw %}"])
@pytest.mark.parametrize("before", ["", "release: ", "x-a: [a, ", "  - "])
def test_a_template_is_not_to_be_put_in_quotes(before: str, template: str) -> None:
    problem = one(f"{before}{template}\n{SERVICE}")

    assert (problem.code, problem.column) == ("E016", len(before) + 1)
    assert problem.message.endswith(" is not filled in; write the finished value")


@given(st.characters())
def test_what_is_spelled_out_is_what_python_and_yaml_read_back(character: str) -> None:
    written = spelled_out(character)

    assert written.isprintable()
    assert character in (HOLE, written) or ast.literal_eval(f'"{written}"') == character


# --- labels ---

PICTURES = (
    "❤️",
    "👩‍🚀",
    "👨‍👩‍👧",
    "🏳️‍🌈",
    "1️⃣",
    "⚠️",
    "👍🏽",
    "🇩🇪",
    "☎︎",
    "↔️",
    "‼️",
    "❤️‍🔥",
    "\U0001fae9",
    "\U0001f8ff",
)
HIDDEN = (
    "\u200b",
    "\u200d",
    "\ufe0f",
    "\u202e",
    "\ufdd0",
    "\U000e0041",
    "\u2065",
    "\U0001fffe",
    "\x1b",
    "\u00ad",
)


@given(
    st.lists(st.sampled_from((*PICTURES, "a", " ", "é", "4.0")), min_size=1, max_size=6).filter(
        lambda p: "".join(p).strip()
    )
)
def test_pictures_are_a_part_of_a_label(parts: list[str]) -> None:
    label = "".join(parts)
    for document in (label, json.loads(json.dumps(label))):
        assert from_document({"release": document, "services": [ENTRY]}).errors == ()
    # As JSON writes it, which is YAML too.
    validation = load(f"release: {json.dumps(label)}\n{SERVICE}".encode())
    assert validation.manifest is not None, validation.errors
    assert validation.manifest.release == label


@given(st.sampled_from(("", "a", "4.0 ", "é")), st.sampled_from(HIDDEN), st.sampled_from(("", "b", "é", " ")))
def test_what_cannot_be_seen_is_no_part_of_a_label(before: str, hidden: str, behind: str) -> None:
    (problem,) = from_document({"release": f"x{before}{hidden}{behind}", "services": [ENTRY]}).errors

    assert problem.code == "E070"


def test_half_a_pair_is_no_character() -> None:
    assert one(f'release: "\\ud83d"\n{SERVICE}').code == "E070"
