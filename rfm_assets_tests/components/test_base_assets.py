"""What components with assets share: names, spec, weeks, run configuration."""

from datetime import date, timedelta

import dagster as dg
import jsonschema
import pytest

from rfm_assets.errors import YamlProblem

SOURCE = "type: toys.SourceComponent\nattributes: {asset_name: source_rows}\n"


def table(project, *lines: str, folder: str = "table") -> None:
    body = "".join(f"  {line}\n" for line in lines)
    project.write(folder, f"type: toys.TableComponent\nattributes:\n{body}")


def specs(project) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in project.load().resolve_all_asset_specs()}


def test_short_forms_name_the_asset(project):
    table(project, "asset_name: crm/people", "group_name: crm", "description: Who buys")

    spec = specs(project)["crm/people"]

    assert (spec.group_name, spec.description) == ("crm", "Who buys")


def test_the_full_form_says_the_same_and_more(project):
    table(
        project,
        "asset:",
        "  key: crm/people",
        "  group_name: crm",
        "  description: Who buys",
        '  owners: ["team:crm", ada@example.com]',
        "  tags: {domain: customers}",
        "  kinds: [parquet]",
        "  metadata: {contact: ada}",
        '  code_version: "2"',
        "  deps: [other/thing]",
        '  automation_condition: "{{ dg.AutomationCondition.eager() }}"',
        '  freshness_policy: "{{ dg.FreshnessPolicy.time_window(datetime.timedelta(days=1)) }}"',
    )

    spec = specs(project)["crm/people"]

    assert (spec.group_name, spec.description) == ("crm", "Who buys")
    assert spec.owners == ["team:crm", "ada@example.com"]
    assert spec.tags["domain"] == "customers"
    assert spec.kinds == {"parquet"}
    assert spec.metadata["contact"] == "ada"
    assert spec.code_version == "2"
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {"source_rows", "other/thing"}
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(timedelta(days=1))


def test_what_the_yaml_does_not_say_is_the_component_s_default(project):
    table(project, "asset_name: people")

    spec = specs(project)["people"]

    assert (spec.group_name, spec.description, spec.kinds) == ("tables", "A table", {"duckdb"})


def test_a_sibling_has_its_own_key_and_description_and_the_same_group(project):
    table(project, "asset_name: crm/people", "group_name: crm", "description: Who buys")

    spec = specs(project)["crm/people_rejects"]

    assert (spec.description, spec.group_name) == ("What was left out", "crm")


@pytest.mark.parametrize("key", ["group_name", "description"])
def test_the_short_and_the_full_form_together_are_an_error(project, key):
    table(project, "asset_name: people", "asset:", f"  {key}: crm", f"{key}: crm")

    assert project.problems() == [
        YamlProblem(
            6,
            "",
            f"{key}: 'crm' says the same as `asset.{key}`, which is also given. "
            f"Keep `asset.{key}` and remove `{key}`.",
        )
    ]


def test_the_schema_also_refuses_the_short_and_the_full_form_together(project):
    schema = project.toy("TableComponent").get_model_cls().model_json_schema()
    check = jsonschema.Draft202012Validator(schema)

    (error,) = check.iter_errors({"asset_name": "people", "asset": {"key": "persons"}})

    assert list(error.absolute_path) == ["asset", "key"]
    assert "says the same as `asset_name`: keep only one" in error.message
    assert not list(check.iter_errors({"asset_name": "people", "asset": {"group_name": "crm"}}))


def test_two_keys_for_one_asset_are_an_error_that_says_which_to_keep(project):
    table(project, "asset:", "  key: people", "asset_name: persons")

    (problem,) = project.problems()

    assert problem.line == 5
    assert "Keep `asset.key` and remove `asset_name`." in problem.message


def test_an_asset_without_a_name_is_an_error(project):
    table(project, "period_days: 30")

    (problem,) = project.problems()

    assert "the asset has no name. Add `asset_name: …`" in problem.message


@pytest.mark.parametrize("name", ["_people", "people list", "a__b", "people-list", "a//b", ""])
def test_a_name_that_cannot_be_stored_is_an_error(project, name):
    table(project, f'asset_name: "{name}"')

    (problem,) = project.problems()

    assert problem.line == 3
    assert "cannot name a stored table" in problem.message


def test_an_owner_that_dagster_refuses_has_its_line(project):
    table(project, "asset_name: people", "asset:", "  owners: [ada]")

    (problem,) = project.problems()

    assert (problem.line, problem.key) == (4, "asset")
    assert "Invalid owner 'ada'" in problem.message


def test_a_wrong_nested_key_has_its_line_and_nearest_match(project):
    table(project, "asset_name: people", "asset:", "  ownrs: [ada@example.com]")

    (problem,) = project.problems()

    assert (problem.line, problem.key) == (5, "asset.ownrs")
    assert problem.message.startswith("is not a key here. Did you mean 'owners'?")


def test_a_plain_word_is_no_automation_condition(project):
    table(project, "asset_name: people", "asset:", "  automation_condition: eager")

    (problem,) = project.problems()

    assert (problem.line, problem.key) == (5, "asset.automation_condition")
    assert "'eager' is no AutomationCondition" in problem.message


def test_the_only_weekly_refresh_gives_the_weeks(project):
    project.weekly(late_after_hours=6)
    table(project, "asset_name: people")

    spec = specs(project)["people"]

    assert isinstance(spec.partitions_def, dg.WeeklyPartitionsDefinition)
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(timedelta(days=7, hours=6))


def test_an_asset_without_weeks_still_belongs_to_the_weekly_job(project):
    project.weekly()
    project.write("source", SOURCE)
    table(project, "asset_name: people")

    defs = project.load()
    job = defs.resolve_job_def("weekly_refresh")

    assert specs(project)["source_rows"].partitions_def is None
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "source_rows",
        "people",
        "people_rejects",
    }


def test_a_run_of_a_week_computes_everything_as_of_its_end(project):
    project.weekly()
    project.write("source", SOURCE)
    table(project, "asset_name: people")

    with dg.instance_for_test() as instance:
        result = (
            project.load()
            .resolve_job_def("weekly_refresh")
            .execute_in_process(partition_key="2025-03-24", instance=instance)
        )

        (rows,) = result.asset_materializations_for_node("source_rows")
        people = result.asset_materializations_for_node("people")
    assert rows.partition is None
    assert {event.partition for event in people} == {"2025-03-24"}
    assert people[0].metadata["as_of"].value == "2025-03-31"


def test_a_backfill_is_one_run_with_the_weeks_in_order(project):
    project.weekly()
    project.write("source", SOURCE)
    table(project, "asset_name: people")
    job = project.load().resolve_job_def("weekly_refresh")

    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            tags={
                "dagster/asset_partition_range_start": "2025-03-17",
                "dagster/asset_partition_range_end": "2025-03-31",
            },
            instance=instance,
        )
        people = result.asset_materializations_for_node("people")

    dates = [
        (event.partition, event.metadata["as_of"].value)
        for event in people
        if event.asset_key == dg.AssetKey("people")
    ]
    assert dates == [
        ("2025-03-17", "2025-03-24"),
        ("2025-03-24", "2025-03-31"),
        ("2025-03-31", "2025-04-07"),
    ]
    assert job.backfill_policy == dg.BackfillPolicy.single_run()


def test_without_a_weekly_refresh_a_run_asks_for_as_of(project):
    table(project, "asset_name: people")
    job = project.load().resolve_implicit_global_asset_job_def()

    result = job.execute_in_process(
        run_config={"ops": {"people": {"config": {"as_of": "2025-06-30"}}}}
    )

    assert specs(project)["people"].partitions_def is None
    events = result.asset_materializations_for_node("people")
    assert events[0].metadata["dates"].value == str(date(2025, 6, 30))


def test_without_a_weekly_refresh_a_run_without_as_of_does_not_start(project):
    table(project, "asset_name: people")

    with pytest.raises(dg.DagsterInvalidConfigError, match="as_of"):
        project.load().resolve_implicit_global_asset_job_def().execute_in_process()


def test_an_as_of_that_is_no_date_is_refused(project):
    table(project, "asset_name: people")
    job = project.load().resolve_implicit_global_asset_job_def()

    with pytest.raises(Exception, match=r"as_of: 'soon' is no date\. Write one as 2025-01-06"):
        job.execute_in_process(run_config={"ops": {"people": {"config": {"as_of": "soon"}}}})


def two_refreshes(project) -> None:
    for folder, name in [("monthly/first", "first"), ("second", "second")]:
        project.write(
            folder,
            f"""
            type: rfm_assets.components.WeeklyRefreshComponent
            attributes: {{start_date: 2025-01-06, job_name: {name}}}
            """,
        )


def test_several_weekly_refreshes_must_be_told_apart(project):
    two_refreshes(project)
    table(project, "asset_name: people")

    (problem,) = project.problems()

    assert problem.message == (
        "there are 2 weekly refreshes. Say which one: 'monthly/first', 'second'."
    )


def test_a_named_weekly_refresh_runs_its_own_assets(project):
    two_refreshes(project)
    table(project, "asset_name: people", "refresh: monthly/first")
    table(project, "asset_name: firms", "refresh: second", folder="firms")

    job = project.load().resolve_job_def("first")

    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "people",
        "people_rejects",
    }


def keys_of(job: dg.JobDefinition) -> set[str]:
    return {key.to_user_string() for key in job.asset_layer.selected_asset_keys}


def test_a_table_without_weeks_is_computed_by_every_weekly_refresh_or_the_one_it_names(project):
    two_refreshes(project)
    project.write("shared", "type: toys.SourceComponent\nattributes: {asset_name: shared}")
    project.write(
        "own", "type: toys.SourceComponent\nattributes: {asset_name: own, refresh: second}"
    )
    table(project, "asset_name: people", "refresh: monthly/first", "upstream_asset_key: shared")
    table(
        project,
        "asset_name: firms",
        "refresh: second",
        "upstream_asset_key: shared",
        folder="firms",
    )

    assert project.problems() == []
    definitions = project.load()

    first, second = definitions.resolve_job_def("first"), definitions.resolve_job_def("second")
    assert keys_of(first) == {"shared", "people", "people_rejects"}
    assert keys_of(second) == {"shared", "own", "firms", "firms_rejects"}
    assert first.execute_in_process(partition_key="2025-01-06").success
    assert second.execute_in_process(partition_key="2025-01-13").success
    assert specs(project)["shared"].freshness_policy == dg.FreshnessPolicy.time_window(
        timedelta(days=7, hours=12)
    )


def test_two_weekly_refreshes_cannot_have_one_job(project):
    project.weekly()
    project.write(
        "second",
        """
        type: rfm_assets.components.WeeklyRefreshComponent
        attributes:
          start_date: 2025-01-06
        """,
    )

    problems = project.problems()

    message = (
        "'weekly_refresh' is also the job of the weekly refresh {!r}. Give each a name of its own."
    )
    assert {(problem.key, problem.message) for problem in problems} == {
        ("job_name", message.format("weekly")),
        ("job_name", message.format("second")),
    }


def test_a_weekly_refresh_that_does_not_exist_is_named_with_the_nearest(project):
    project.weekly()
    table(project, "asset_name: people", "refresh: weeky")

    assert project.problems() == [
        YamlProblem(
            4,
            "refresh",
            "'weeky' is no folder with a WeeklyRefreshComponent. Did you mean 'weekly'? "
            "Allowed: 'weekly'.",
        )
    ]


def test_the_fingerprint_of_the_settings_ignores_how_the_asset_is_presented(project):
    kind = project.toy("TableComponent")

    plain = kind(asset_name="people").config_hash

    assert plain == kind(asset_name="persons", description="Who", group_name="crm").config_hash
    assert plain == kind(asset_name="people", period_days=365).config_hash
    assert plain != kind(asset_name="people", period_days=364).config_hash
    assert len(plain) == 16
