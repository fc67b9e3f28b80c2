// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem map`: where the pages of a process are. Its options, and where the map comes from: the
 * process itself, at its socket (live.h), or a file with such an answer.
 */
#include <argp.h>
#include <errno.h>
#include <string.h>

#include "live.h"
#include "map.h"
#include "picture.h"
#include "util.h"

enum key {
	KEY_JSON = 256,
	KEY_WIDTH,
};

static const struct argp_option options[] = {
	{ "output", 'o', "FILE", 0, "Draw a picture instead: FILE.svg, or FILE.png", 1 },
	{ "width", KEY_WIDTH, "N", 0, "Columns of text; default: the terminal's, or 80", 1 },
	{ "json", KEY_JSON, NULL, 0, "Print the map as one JSON object, which gmem map reads", 2 },
	{ "help", 'h', NULL, 0, "Print this help", 3 },
	{ 0 },
};

static const char doc[] =
	"Where the pages of a process are: a line for each region of managed memory, by whose "
	"letters "
	"and colors one sees what is in host memory, and what on which device. It is asked of the "
	"process while that runs, and so is no snapshot. FILE is what --json has printed."
	"\v"
	"Examples:\n"
	"  gmem map 4711                    in the terminal\n"
	"  gmem map 4711 -o map.svg         as a picture\n"
	"  gmem map 4711 --json >map.json   for later: gmem map map.json\n"
	"\n"
	"Exit status: 0 all is well; 1 the picture cannot be made; 2 misuse, a process that cannot "
	"be "
	"asked, or a file that is no map.";

struct line {
	const char *of, *output, *mistake;
	uint64_t width;
	bool json, help;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	switch (key) {
	case 'o':
		line->output = arg;
		return 0;
	case KEY_WIDTH:
		if (number_parse(arg, PICTURE_MIN_WIDTH, PICTURE_MAX_WIDTH, &line->width))
			return USAGE("--width %s: give a number from %u to %u", arg,
				     PICTURE_MIN_WIDTH, PICTURE_MAX_WIDTH);
		return 0;
	case KEY_JSON:
		line->json = true;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		if (line->of)
			return USAGE("'%s': one process, or one file, at a time", arg);
		line->of = arg;
		return 0;
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --------------------------------------------------------------------------- sources */

static int ask(pid_t pid, json_t **answer)
{
	struct live live;
	enum live_error err = live_open(&live, pid);

	if (err)
		return live_fail(RUN_BAD_INPUT, err, pid);
	*answer = live_ask(&live, "map");
	live_close(&live);
	return *answer ? RUN_OK : live_fail(RUN_BAD_INPUT, LIVE_FAILED, pid);
}

static int read_file(const char *path, json_t **answer)
{
	FILE *f = fopen(path, "re");
	json_error_t why;

	if (!f)
		return fail(RUN_BAD_INPUT, "cannot read %s: %s", path, strerror(errno));
	*answer = json_loadf(f, 0, &why);
	fclose(f);
	return *answer ? RUN_OK
		       : fail(RUN_BAD_INPUT, "%s: line %d: no JSON, or it is cut off: %s", path,
			      why.line, why.text);
}

/* ------------------------------------------------------------------------------ sinks */

static int draw(const void *map, FILE *out)
{
	return map_print_svg(map, out);
}

static int show(const struct line *line, json_t *answer)
{
	struct map m = { .nr_nodes = 0 };
	int err = map_load(&m, line->of, answer);

	if (!err && line->json)
		err = json_dumpf(answer, stdout, JSON_COMPACT) || puts("") == EOF || fflush(stdout)
			      ? fail(RUN_FAILED, "cannot write the result")
			      : RUN_OK;
	else if (!err && line->output)
		err = picture_write(line->output, draw, &m);
	else if (!err &&
		 map_print(&m, stdout, line->width ? (unsigned int)line->width : picture_width(),
			   picture_color()))
		err = fail(RUN_FAILED, "cannot write the result");
	map_free(&m);
	return err;
}

static int check(const struct line *line)
{
	if (!line->of)
		return fail(RUN_BAD_INPUT,
			    "the map of which process? Give its number; see 'gmem map --help'");
	if (line->json && line->output)
		return fail(RUN_BAD_INPUT, "--json and -o exclude each other: give one");
	if (line->output && !picture_name_ok(line->output))
		return fail(RUN_BAD_INPUT, "-o %s: give a name that ends in .svg or .png",
			    line->output);
	return RUN_OK;
}

int map_main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "PID|FILE",
		.doc = doc,
	};
	struct line line = { 0 };
	json_t *answer = NULL;
	uint64_t pid;
	int status = RUN_BAD_INPUT, err;

	if (!line_parse(&argp, 0, "gmem map", argc, argv, &line, &line.mistake, &line.help,
			&status))
		return status;
	err = check(&line);
	if (err)
		return err;
	err = number_parse(line.of, 1, INT32_MAX, &pid) ? read_file(line.of, &answer)
							: ask((pid_t)pid, &answer);
	if (!err)
		err = show(&line, answer);
	json_decref(answer);
	return err;
}
