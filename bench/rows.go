package main

// A row is work that pix and its peers do.
type row struct {
	name  string
	setup func(l *lab, t *scope) work
}

// work is a prepared row. Its first contender is pix.
type work struct {
	text       string // the amount
	contenders []contender
}

// rows are all rows, in the order of the table.
var rows = []row{
	{"parse derivations", parseRow},
	{"parse and print derivations", printRow},
	{"parse narinfos", narinfoRow},
	{"hash a file as an archive", hashRow},
	{"drv-verify", drvVerifyRow},
	{"derive packages", packagesRow},
	{"instantiate packages", instantiateRow},

	{"closure", closureRow},
	{"closure through Nix's daemon", daemonClosureRow},
	{"path-info --json", pathInfoRow},
	{"valid-paths", validPathsRow},
	{"gc --dry-run", dryRunRow},
	{"copy between stores", copyRow},

	{"small paths to a cache, xz", smallXZRow},
	{"a large path to a cache, xz", largeXZRow},
	{"a large path to a cache, zstd", largeZstdRow},
	{"decode xz", decodeXZRow},
	{"a large path over HTTP/1.1, 20 ms", http1Row},
	{"a large path over HTTP/2, 20 ms", http2Row},
	{"small paths over HTTP/1.1, 20 ms", smallHTTPRow},

	{"cache server: narinfos", requestNarInfosRow},
	{"cache server: a large archive", requestArchiveRow},
	{"cache server: small paths to Nix", fetchRow},
	{"cache server: many clients", manyClientsRow},
	{"small paths from pix serve, 20 ms", slowCopyRow},
	{"small paths pushed to pix serve, 20 ms", slowPushRow},

	{"lone queries, Nix's daemon", loneRow},
	{"pipelined queries, Nix's daemon", pipelinedRow},
	{"daemon: path infos, 1 client", pathInfosRow(1)},
	{"daemon: path infos, 16 clients", pathInfosRow(16)},
	{"daemon: small texts", smallTextsRow},
	{"register derivations, pix's daemon", registerRow(0)},
	{"register derivations, Nix's daemon", registerRow(1)},
	{"daemon: new connections", connectionsRow},
	{"daemon: a large archive, in", archiveInRow},
	{"daemon: a large archive, out", archiveOutRow},

	{"build a chain", buildRow(chainBuild)},
	{"build side by side", buildRow(wideBuild)},
	{"build an output of many files", buildRow(filesBuild)},
}
