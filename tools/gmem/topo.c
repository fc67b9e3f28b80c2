// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `gmem topo`: its options, and what there is.
 *
 * Devices that --device names are plugged in for the time of the command, and what leads to
 * them is measured. On the kernel host there are those of others besides: they are shown, and
 * only their drivers' own programs could measure them.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "topo.h"
#include "util.h"

#define MAX_NUMA_NODES 4096
#define MAX_REPEAT 1000U
#define DEFAULT_SIZE (16ULL << 20)
#define DEFAULT_REPEAT 5U
#define MAX_SIZE (64ULL << 30)

enum key {
	KEY_DEVICE = 256,
	KEY_SIZE,
	KEY_REPEAT,
	KEY_NO_LINKS,
	KEY_JSON,
	KEY_XML,
};

static const struct argp_option options[] = {
	{ "device", KEY_DEVICE, "SPEC", 0,
	  "Plug in a device; may be given several times. " DEVICE_HELP, 1 },
	{ "size", KEY_SIZE, "SIZE", 0, "Bytes to move for a bandwidth; default: 16M", 2 },
	{ "repeat", KEY_REPEAT, "N", 0, "How often; default: 5", 2 },
	{ "no-links", KEY_NO_LINKS, NULL, 0, "Do not measure", 2 },
	{ "json", KEY_JSON, NULL, 0, "Print one JSON object", 3 },
	{ "xml", KEY_XML, NULL, 0, "Print the XML of hwloc, which lstopo draws", 3 },
	{ "help", 'h', NULL, 0, "Print this help", 4 },
	{ 0 },
};

static const char doc[] =
	"CPU nodes, hnodes, and what moves between them in what time. Without --device it is the "
	"hnodes of /dev/gmem, or, where that cannot be used, one simulated accelerator."
	"\v"
	"Examples:\n"
	"  gmem topo                                   what there is\n"
	"  gmem topo --device sim,memory=256M --device sim,engines=2\n"
	"                                              two of them, and between them\n"
	"  gmem topo --xml | lstopo -i - --if xml      a picture of it\n"
	"  gmem topo --xml | lstopo -i - --if xml topo.svg\n"
	"  gmem topo --json | jq '.links[] | select(.from == -1)'\n"
	"                                              from the host\n"
	"\n"
	"Exit status: 0 all is well; 1 a step failed; 2 misuse.";

struct line {
	struct gm_sim_options devices[TOPO_MAX_DEVICES];
	unsigned int nr;
	uint64_t size, repeat;
	const char *mistake;
	bool no_links, json, xml, help;
};

static int parse_device(struct line *line, const char *arg)
{
	if (line->nr == TOPO_MAX_DEVICES)
		return USAGE("--device %s: that is too many: give at most %u", arg,
			     TOPO_MAX_DEVICES);
	return device_parse(arg, &line->devices[line->nr++]) ? ECANCELED : 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	switch (key) {
	case KEY_DEVICE:
		return parse_device(line, arg);
	case KEY_SIZE:
		if (size_parse(arg, &line->size) || line->size < GM_PAGE_SIZE ||
		    line->size > MAX_SIZE)
			return USAGE("--size %s: give a number of bytes from 4K to 64G, with or "
				     "without a suffix K, M or G",
				     arg);
		return 0;
	case KEY_REPEAT:
		if (number_parse(arg, 1, MAX_REPEAT, &line->repeat))
			return USAGE("--repeat %s: give a number from 1 to %u", arg, MAX_REPEAT);
		return 0;
	case KEY_NO_LINKS:
		line->no_links = true;
		return 0;
	case KEY_JSON:
		line->json = true;
		return 0;
	case KEY_XML:
		line->xml = true;
		return 0;
	case 'h':
		line->help = true;
		return 0;
	case ARGP_KEY_ARG:
		return USAGE("'%s': gmem topo takes no argument", arg);
	case ARGP_KEY_ERROR:
		line->mistake = option_mistake(state->argc, state->argv, state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Only what NUMA nodes have: I/O devices are for the picture. */
static int load_machine(struct topo *t)
{
	if (hwloc_topology_init(&t->machine)) {
		t->machine = NULL;
	} else if (!hwloc_topology_set_io_types_filter(t->machine,
						       HWLOC_TYPE_FILTER_KEEP_IMPORTANT) &&
		   !hwloc_topology_load(t->machine)) {
		return RUN_OK;
	}
	return fail(RUN_FAILED, "hwloc cannot read this machine's topology: %s", strerror(errno));
}

static int plug_in(struct topo *t, const struct gm_sim_options *opt)
{
	struct topo_hnode *h = &t->hnodes[t->nr];
	int err;

	h->opt = *opt;
	snprintf(h->name, sizeof(h->name), "sim%u", t->nr);
	h->opt.name = h->name;
	err = gm_sim_create(&h->opt, &h->sim);
	if (err)
		return fail(RUN_FAILED, "cannot create the device %s: %s", h->name,
			    gm_strerror(err));
	t->nr++;
	h->id = gm_dev_hnode(gm_sim_dev(h->sim));
	err = gm_sim_attach(h->sim, t->as, &h->ctx);
	return err ? fail(RUN_FAILED, "cannot attach the device %s: %s", h->name, gm_strerror(err))
		   : RUN_OK;
}

static struct topo_hnode *find(struct topo *t, int id)
{
	unsigned int i;

	for (i = 0; i < t->nr; i++)
		if (t->hnodes[i].id == id)
			return &t->hnodes[i];
	if (t->nr == TOPO_MAX_HNODES)
		return NULL; /* gmem knows no more either */
	t->hnodes[t->nr].id = id;
	return &t->hnodes[t->nr++];
}

/* All that there are: ids begin behind those of the real nodes. */
static void list_hnodes(struct topo *t)
{
	struct gm_hnode_info info = { .size = sizeof(info) };
	struct topo_hnode *h;
	int id;

	for (id = 0; id < MAX_NUMA_NODES + (int)TOPO_MAX_HNODES; id++) {
		if (gm_hnode_info(id, &info))
			continue;
		h = find(t, id);
		if (!h)
			return;
		h->total = info.total;
		h->free = info.free;
	}
}

static int build(struct topo *t, const struct line *line)
{
	static const struct gm_sim_options plain = { .size = sizeof(plain) };
	unsigned int i;
	int err;

	if (line->nr)
		device_choose_host(false);
	err = gm_as_create(NULL, &t->as);
	if (err)
		return fail(RUN_FAILED,
			    "cannot create an address space: %s; 'gmem check' says "
			    "more",
			    gm_strerror(err));
	t->host = gm_host_name();
	err = load_machine(t);
	for (i = 0; !err && i < line->nr; i++)
		err = plug_in(t, &line->devices[i]);
	if (!err && !line->nr && !strcmp(t->host, "user"))
		err = plug_in(t, &plain);
	if (err)
		return err;
	list_hnodes(t);
	return line->no_links ? RUN_OK : topo_measure(t);
}

static int print(const struct topo *t, const struct line *line)
{
	if (line->xml)
		return topo_print_xml(t, stdout);
	if (line->json ? topo_print_json(t, stdout) : topo_print(t, stdout))
		return fail(RUN_FAILED, "cannot write the result");
	return RUN_OK;
}

/* What one device does not let go of is no reason to keep the others; the first error counts. */
static int clean_up(struct topo *t)
{
	struct topo_hnode *h;
	int err = 0, e;

	for (h = t->hnodes; h < t->hnodes + t->nr; h++) {
		e = h->ctx ? gm_sim_detach(h->ctx) : 0;
		if (!e && h->sim)
			e = gm_sim_destroy(h->sim);
		err = err ? err : e;
	}
	e = t->as ? gm_as_destroy(t->as) : 0;
	err = err ? err : e;
	if (t->machine)
		hwloc_topology_destroy(t->machine);
	return err ? fail(RUN_FAILED, "cannot clean up: %s", gm_strerror(err)) : RUN_OK;
}

int topo_main(int argc, char **argv)
{
	static const struct argp argp = { .options = options, .parser = parse, .doc = doc };
	struct line line = { .size = DEFAULT_SIZE, .repeat = DEFAULT_REPEAT };
	struct topo *t;
	int status = RUN_BAD_INPUT, err, clean;

	if (!line_parse(&argp, 0, "gmem topo", argc, argv, &line, &line.mistake, &line.help,
			&status))
		return status;
	if (line.json && line.xml)
		return fail(RUN_BAD_INPUT, "--json and --xml exclude each other: give one");
	t = xrealloc(NULL, 1, sizeof(*t));
	memset(t, 0, sizeof(*t));
	t->size = (line.size + GM_PAGE_SIZE - 1) & ~(GM_PAGE_SIZE - 1);
	t->repeat = line.repeat;
	err = build(t, &line);
	if (!err)
		err = print(t, &line);
	clean = clean_up(t);
	free(t);
	return err ? err : clean;
}
