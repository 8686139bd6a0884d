"""Draws the stack's dashboard from its definition in the template and the metrics of a local run.

CloudWatch shows an empty graph, without an error, for a metric that nothing publishes. Here such a metric is an error.
"""

import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from stack import Wrong  # noqa: E402

# Metrics that Lambda and SQS publish themselves, from their developer guides ("Types of metrics for Lambda functions",
# "Available CloudWatch metrics for Amazon SQS"). MiniStack publishes some of them.
OF_AWS = {
    "AWS/Lambda": {"Errors", "Throttles", "Duration", "Invocations"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible"},
}


def draw(stack, picture):
    widgets = json.loads(stack.cloudwatch.get_dashboard(DashboardName=stack.name)["DashboardBody"])["widgets"]
    published = embedded_metrics(stack.all_lines())
    graphs = [widget["properties"] for widget in widgets if widget["type"] == "metric"]
    figure, axes = plt.subplots((len(graphs) + 1) // 2, 2, figsize=(15, 2.9 * len(graphs) / 2), layout="constrained")
    for graph, axis in zip(graphs, axes.flat):
        draw_graph(stack, graph, axis, published)
    alarms = [widget for widget in widgets if widget["type"] == "alarm"]
    states = stack.cloudwatch.describe_alarms()["MetricAlarms"]
    known = {alarm["AlarmArn"] for alarm in states}
    for widget in alarms:
        if unknown := set(widget["properties"]["alarms"]) - known:
            raise Wrong(f"the dashboard shows alarms that do not exist: {unknown}")
    for alarm in states:
        dimensions = tuple((one["Name"], one["Value"]) for one in alarm["Dimensions"])
        metric = alarm["Namespace"], alarm["MetricName"], dimensions
        if alarm["MetricName"] not in OF_AWS.get(alarm["Namespace"], ()) and metric not in published:
            raise Wrong(f"{alarm['AlarmName']} watches {metric}, which nothing publishes")
    figure.suptitle(f"Dashboard of {stack.name}, after a local run of one minute; one bar or point for each event")
    figure.savefig(picture, dpi=75)
    print(f"{len(graphs)} graphs of {len(published)} published metrics: {picture}")


def embedded_metrics(lines):
    """Returns the metrics that CloudWatch would extract from the function's log, by namespace, name and dimensions."""
    metrics = defaultdict(list)
    for line in lines:
        time = datetime.fromtimestamp(line["_aws"]["Timestamp"] / 1000, timezone.utc)
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = tuple((name, line[name]) for name in names)
                for metric in directive["Metrics"]:
                    metrics[directive["Namespace"], metric["Name"], dimensions].append((time, line[metric["Name"]]))
    return metrics


def named_metrics(graph):
    """Yields the metrics of a graph, with the dots that repeat the row above replaced by what they stand for."""
    above = []
    for row in graph["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        names = [part for part in row if not isinstance(part, dict)]
        if names and names[0] == "...":
            names = above[: len(above) - len(names) + 1] + names[1:]
        names = [above[index] if part == "." else part for index, part in enumerate(names)]
        if names:
            above = names
        yield names, options


def draw_graph(stack, graph, axis, published):
    series = {}
    for names, options in named_metrics(graph):
        if "expression" in options:
            series[options["id"]] = (options, None)
            continue
        namespace, name, *rest = names
        dimensions = tuple(zip(rest[::2], rest[1::2]))
        values = published.get((namespace, name, dimensions), [])
        if namespace in OF_AWS:
            if name not in OF_AWS[namespace]:
                raise Wrong(f"{graph['title']}: {namespace} has no metric {name}")
            values = of_aws(stack, namespace, name, dimensions, options.get("stat", graph.get("stat")))
        elif not any(key[:2] == (namespace, name) and shape(key[2]) == shape(dimensions) for key in published):
            raise Wrong(f"{graph['title']}: nothing publishes {name} by {shape(dimensions)}")
        elif not values and shape(dimensions) == ("site",):
            raise Wrong(f"{graph['title']}: nothing publishes {name} of {dimensions}")
        series[options.get("id", "/".join(names))] = ({"label": rest[-1] if len(rest) > 2 else name, **options}, values)
    # Red is reserved for failures.
    axis.set_prop_cycle(color=[color for index, color in enumerate(matplotlib.color_sequences["tab10"]) if index != 3])
    bottom = defaultdict(float)
    for options, values in series.values():
        if not options.get("visible", True):
            continue
        if values is None:
            values = running_sum(series["paths"][1], options["expression"])
        if not values:
            continue
        times, heights = zip(*sorted(values))
        label = f"{options['label']}"
        if graph.get("stacked"):
            width = timedelta(seconds=0.8)
            axis.bar(times, heights, width, [bottom[time] for time in times], label=label, color=options.get("color"))
            for time, height in zip(times, heights):
                bottom[time] += height
        else:
            axis.plot(times, heights, "o:", label=label, color=options.get("color"), markersize=5, linewidth=0.8)
    for line in graph.get("annotations", {}).get("horizontal", []):
        axis.axhline(line["value"], linestyle="--", linewidth=1, color="gray")
        axis.annotate(line["label"], (0, line["value"]), xycoords=("axes fraction", "data"), color="gray", fontsize=8)
    axis.set_title(graph["title"], fontsize=10)
    axis.tick_params(labelsize=8)
    if axis.has_data():
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def shape(dimensions):
    return tuple(name for name, _ in dimensions)


def running_sum(values, expression):
    if expression != "RUNNING_SUM(FILL(paths, 0))":
        raise Wrong(f"the picture cannot show the expression {expression}")
    total, summed = 0, []
    for time, value in sorted(values):
        total += value
        summed.append((time, total))
    return summed


def of_aws(stack, namespace, name, dimensions, statistic):
    now = datetime.now(timezone.utc)
    answer = stack.cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=1,
        Statistics=[statistic],
    )
    return [(point["Timestamp"], point[statistic]) for point in answer["Datapoints"]]
