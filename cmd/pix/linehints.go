package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// A lineHint is the command of pix for a command line of another program that has all these words. A hint that begins with
// a semicolon is a sentence instead.
type lineHint struct{ words, hint string }

const (
	noEvaluator = "; pix does not evaluate Nix expressions: evaluate them with Nix, and give pix the .drv file or the store path"
	nameProfile = "; name the profile with --profile, as in 'pix profile history --profile LINK'"
	useCache    = "; name the cache in 'substituters' and its key in 'trusted-public-keys' of nix.conf"
	cacheLogin  = "; put the token into a netrc file, which the setting 'netrc-file' names"
	noInstaller = "; pix installs no packages by name: 'pix profile set PATH' makes a store path the next generation of a profile"
)

// lineHints are hints by the name of the other program. The first hint that matches counts, so more words come first.
var lineHints = map[string][]lineHint{
	"nix-store": nixStoreHints,
	"nix":       nixHints,
	"nix-env": {
		{"--list-generations", "pix profile history"}, {"--switch-generation", "pix profile switch"}, {"-G", "pix profile switch"},
		{"--rollback", "pix profile rollback"}, {"--delete-generations", "pix profile delete-generations"}, {"--set", "pix profile set"},
		{"--switch-profile", nameProfile}, {"-S", nameProfile},
		{"--query", "pix profile list"}, {"-q", "pix profile list"},
		{"--install", noInstaller}, {"-i", noInstaller}, {"--upgrade", noInstaller}, {"-u", noInstaller},
		{"--uninstall", noInstaller}, {"-e", noInstaller}, {"", "pix profile"},
	},
	"nix-collect-garbage": {
		{"--delete-older-than", "pix gc --delete-older-than"}, {"--delete-old", "pix gc --delete-old"}, {"-d", "pix gc --delete-old"},
		{"--dry-run", "pix gc --dry-run"}, {"", "pix gc"},
	},
	"nix-copy-closure": {{"--from", "pix copy --from ssh-ng://HOST"}, {"", "pix copy --to ssh-ng://HOST"}},
	"nix-prefetch-url": {{"--unpack", "pix prefetch --unpack"}, {"", "pix prefetch"}},
	"nix-hash": {
		{"--to-base16", "pix hash-convert --to base16"}, {"--to-base32", "pix hash-convert --to nix32"},
		{"--to-base64", "pix hash-convert --to base64"}, {"--to-sri", "pix hash-convert"},
		{"--flat", "pix hash-file"}, {"", "pix hash-path"},
	},
	"nix-daemon":            {{"--stdio", "pix daemon --stdio"}, {"", "pix daemon"}},
	"nix-build":             {{"--check", "pix build --check"}, {"", "pix build"}},
	"nix-instantiate":       {{"", noEvaluator}},
	"nix-shell":             {{"", "pix shell"}},
	"nix-channel":           {{"", noEvaluator}},
	"nix-tree":              {{"--dot", "pix graph --dot"}, {"", "pix view, pix tree --sizes or pix path-info -r --table"}},
	"nix-query-tree-viewer": {{"", "pix tree"}},
	"nix-visualize":         {{"", "pix graph --svg"}},
	"nix-du":                {{"", "pix roots or pix path-info -r --table"}},
	"nix-diff":              {{"", "pix drv-diff"}},
	"nix-top":               {{"", "pix ps"}},
	"nix-output-monitor":    {{"", "pix build or pix watch"}},
	"nom":                   {{"", "pix build or pix watch"}},
	"nix-serve":             {{"", "pix serve"}},
	"nix-serve-ng":          {{"", "pix serve"}},
	"harmonia":              {{"", "pix serve"}},
	"harmonia-cache":        {{"", "pix serve"}},
	"harmonia-daemon":       {{"", "pix daemon"}},
	"ncps":                  {{"", "pix serve --upstream URI"}},
	"atticd":                {{"", "pix serve"}},
	"attic": {
		{"watch-store", "pix push --watch"}, {"push", "pix push or pix copy --to URI"}, {"use", useCache}, {"login", cacheLogin}, {"", "pix push or pix serve"},
	},
	"cachix": {
		{"watch-store", "pix push --watch"}, {"watch-exec", "pix push --watch"}, {"push", "pix push or pix copy --to URI"}, {"use", useCache},
		{"authtoken", cacheLogin}, {"generate-keypair", "pix key-generate"}, {"", "pix push or pix serve"},
	},
	"nvd": {{"history", "pix profile history"}, {"list", "pix path-info -r --table"}, {"", "pix diff"}},
	"dix": {{"", "pix diff"}},
}

var nixStoreHints = []lineHint{
	{"--add-root", "pix add-root or pix build --out-link"}, {"--check", "pix build --check"},
	{"--realise", "pix build"}, {"--realize", "pix build"}, {"-r", "pix build"},
	{"--referrers-closure", "pix referrers --closure"}, {"--referrers", "pix referrers"}, {"--requisites", "pix closure"}, {"-R", "pix closure"},
	{"--references", "pix path-info"}, {"--valid-derivers", "pix derivers"}, {"--deriver", "pix path-info"}, {"-d", "pix path-info"},
	{"--outputs", "pix outputs"}, {"--hash", "pix path-info"}, {"--size", "pix path-info -s"}, {"--tree", "pix tree"},
	{"--graphml", "pix graph --graphml"}, {"--graph", "pix graph"}, {"--roots", "pix roots PATH"}, {"--binding", "pix drv-show"}, {"-b", "pix drv-show"},
	{"--resolve", "pix path-info -s"}, {"--query", queryHint}, {"-q", queryHint},
	{"--add-fixed --recursive", "pix add"}, {"--add-fixed", "pix add --mode flat"}, {"--add", "pix add"}, {"-A", "pix add"},
	{"--print-fixed-path", "pix store-path --mode --hash-algo --hash"},
	{"--verify --repair", "pix verify-store --repair"}, {"--verify --check-contents", "pix verify-store --check-contents"},
	{"--verify", "pix verify-store"}, {"--verify-path", "pix verify --no-trust"}, {"--repair-path", "pix build --repair"},
	{"--check-validity", "pix is-valid"}, {"--dump-db", "pix dump-db"}, {"--load-db", "pix load-db"}, {"--register-validity", "pix load-db"},
	{"--dump", "pix nar-dump or pix dump"}, {"--restore", "pix nar-restore"}, {"--export", "pix export"}, {"--import", "pix import"},
	{"--read-log", "pix log"}, {"-l", "pix log"}, {"--print-env", "pix drv-show"},
	{"--print-roots", "pix roots"}, {"--print-live", "pix gc --explain PATH"}, {"--print-dead", "pix gc --dry-run"},
	{"--max-freed", "pix gc --max-freed"}, {"--gc", "pix gc"}, {"--delete", "pix gc PATH"}, {"--optimise", "pix optimise"}, {"--optimize", "pix optimise"},
	{"--generate-binary-cache-key", "pix key-generate"}, {"--serve", "pix daemon --stdio"},
}

const queryHint = "pix path-info, pix closure, pix referrers, pix derivers or pix outputs"

var nixHints = []lineHint{
	{"derivation show", "pix drv-show"}, {"show-derivation", "pix drv-show"}, {"derivation add", "pix drv-add"}, {"derivation instantiate", noEvaluator},
	{"hash path", "pix hash-path"}, {"hash file", "pix hash-file"}, {"hash convert", "pix hash-convert"},
	{"hash to-base16", "pix hash-convert --to base16"}, {"hash to-base32", "pix hash-convert --to nix32"},
	{"hash to-base64", "pix hash-convert --to base64"}, {"hash to-sri", "pix hash-convert"}, {"hash-path", "pix hash-path"}, {"hash-file", "pix hash-file"},
	{"key generate-secret", "pix key-generate"}, {"key convert-secret-to-public", "pix key-public"},
	{"nar ls", "pix nar-ls"}, {"nar cat", "pix nar-cat"}, {"nar pack", "pix nar-dump"}, {"nar dump-path", "pix nar-dump"},
	{"realisation info", "pix build-trace info"}, {"build-trace info", "pix build-trace info"},
	{"profile list", "pix profile list"}, {"profile history", "pix profile history"}, {"profile rollback", "pix profile rollback"},
	{"profile wipe-history", "pix profile wipe-history"}, {"profile diff-closures", "pix profile diff"},
	{"profile install", noInstaller}, {"profile add", noInstaller}, {"profile remove", noInstaller}, {"profile upgrade", noInstaller},
	{"store ls", "pix ls"}, {"store cat", "pix cat"}, {"store dump-path", "pix dump"}, {"store add-file", "pix add --mode flat"},
	{"store add-path", "pix add"}, {"store add", "pix add"}, {"store delete", "pix gc PATH"}, {"store gc", "pix gc"},
	{"store optimise", "pix optimise"}, {"store sign", "pix sign"}, {"store repair", "pix build --repair"}, {"store ping", "pix daemon-info"},
	{"store info", "pix daemon-info"}, {"store verify", "pix verify"}, {"store copy-sigs", "pix copy"}, {"store copy-log", "pix log"},
	{"store prefetch-file --unpack", "pix prefetch --unpack"}, {"store prefetch-file", "pix prefetch"}, {"store prefetch-tarball", "pix prefetch --unpack"},
	{"store diff-closures", "pix diff"}, {"store make-content-addressed", "pix make-content-addressed"}, {"store path-from-hash-part", "pix path-info -s"},
	{"config show", "pix config"}, {"show-config", "pix config"}, {"config check", "pix doctor"}, {"develop", "pix shell"},
	{"eval", noEvaluator}, {"flake", noEvaluator}, {"repl", noEvaluator}, {"search", noEvaluator}, {"edit", noEvaluator}, {"print-dev-env", noEvaluator},
	{"registry", noEvaluator}, {"bundle", noEvaluator}, {"fmt", noEvaluator}, {"formatter", noEvaluator},
}

// flagHints are what to add to the message about flags of other programs, by the verb and the flag.
var flagHints = map[string]string{
	"add --dry-run": ", did you mean 'pix store-path'?", "add --recursive": "; that is the default, --mode nar",
	"build --add-root": ", did you mean --out-link?", "build --indirect": ", did you mean --out-link?",
	"build --profile": "; 'pix profile set PATH' makes a path the next generation of a profile",
	"closure -r":      needless, "closure --recursive": needless, "closure --include-outputs": "; name the outputs too, as DRV^*",
	"copy -s": ", did you mean --substitute?", "copy -r": needless, "copy --recursive": needless,
	"copy --gzip":              "; set the compression of a cache in its URI, as file://DIR?compression=xz",
	"drv-diff --line-oriented": drvDiffTexts, "drv-diff --word-oriented": drvDiffTexts, "drv-diff --character-oriented": drvDiffTexts,
	"daemon --listen": ", did you mean --socket?",
	"docs --open":     ", did you mean --browser?", "docs --web": ", did you mean --browser?",
	"drv-diff --context": drvDiffTexts, "drv-diff --environment": "; the environment is always compared",
	"drv-diff --skip-already-compared": "; each pair is compared once", "drv-diff --squash-text-dynamic": drvDiffTexts,
	"explain --diff": ", did you mean --against?", "explain --nar": ", did you mean --archive?", "explain --script": ", did you mean --commands?",
	"explain --shell": ", did you mean --commands?", "explain --why": ", did you mean --why-rebuilt?",
	"gc --ignore-liveness": "; pix deletes no path that a root needs: 'pix roots PATH' prints these roots",
	"gc --skip-live":       "; without PATH, gc deletes only garbage",
	"gc --print-dead":      ", did you mean --dry-run?", "gc --print-live": ", did you mean --explain?",
	"gc --print-roots": ", did you mean 'pix roots'?", "gc --delete": "; give only the path, as 'pix gc PATH'",
	"gc --max": ", did you mean --max-freed?", "graph --derivation": theDRV, "tree --derivation": theDRV,
	"monitor --filter": ", did you mean --match or --operation?", "monitor --socket": ", did you mean --listen?",
	"path-info --derivation": theDRV, "why-depends --derivation": theDRV, "log --derivation": theDRV, "closure --derivation": theDRV,
	"hash-convert --to-base16": ", did you mean --to base16?", "hash-convert --to-base32": ", did you mean --to nix32?",
	"hash-convert --to-base64": ", did you mean --to base64?", "hash-convert --to-sri": ", did you mean --to sri?",
	"hash-path --flat": ", did you mean 'pix hash-file'?", "ls -a": "; all files are listed",
	"prefetch --print-path": "; the path is always printed", "prefetch --hash-type": ", did you mean --hash-algo?",
	"referrers -r": ", did you mean --closure?", "referrers --recursive": ", did you mean --closure?",
	"shell -p": noEvaluator, "sign --all": ", did you mean 'pix valid-paths | pix sign --stdin'?",
	"store-path --recursive": "; that is the default, --mode nar", "verify --repair": ", did you mean 'pix build --repair PATH'?",
	"view --html": ", did you mean --export?", "view --output": ", did you mean --export?", "view -o": ", did you mean --export?",
	"view --port":           "; give the port in --listen, as 127.0.0.1:8080",
	"why-depends --precise": "; the files that contain the references are always printed",
}

const (
	needless     = "; it is not needed, the verb is always recursive"
	drvDiffTexts = "; a text that differs is printed with the lines that differ"
	theDRV       = "; name the derivation itself: the .drv file"
)

// hintForLine returns what to add to the message about a command line of another program; "" if no hint matches.
func hintForLine(program string, words []string) string {
	words = splitShorthands(words)
	for _, h := range lineHints[program] {
		hasAll := !slices.ContainsFunc(strings.Fields(h.words), func(word string) bool { return !slices.Contains(words, word) })
		switch {
		case hasAll && strings.HasPrefix(h.hint, ";"):
			return h.hint
		case hasAll:
			return didYouMean(h.hint)
		}
	}
	return ""
}

// didYouMean returns the question about the commands of a hint, each in quotes.
func didYouMean(hint string) string {
	return ", did you mean '" + betweenCommands.Replace(hint) + "'?"
}

var betweenCommands = strings.NewReplacer(", pix ", "', 'pix ", " or pix ", "' or 'pix ")

// splitShorthands returns the words with -a -b in place of -ab, and without the values of --name=value.
func splitShorthands(words []string) []string {
	var split []string
	for _, word := range words {
		if len(word) < 3 || word[0] != '-' || word[1] == '-' {
			word, _, _ = strings.Cut(word, "=")
			split = append(split, word)
			continue
		}
		for _, letter := range word[1:] {
			split = append(split, "-"+string(letter))
		}
	}
	return split
}

// checkVerb returns a usage error if the first word is no verb, or the first flag is an operation of nix-store.
// Cobra parses all flags first, and would report a flag of the other program instead.
func checkVerb(root *cobra.Command, args []string) error {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, isFlag := strings.CutPrefix(arg, "--")
		name, _, _ = strings.Cut(name, "=")
		switch {
		case arg == "--", strings.HasPrefix(arg, cobra.ShellCompRequestCmd):
			return nil
		case isFlag && root.Flag(name) == nil && name != "help":
			if hint := hintForLine("nix-store", args[i:]); hint != "" {
				return wrongUse(hintedVerb(root, hint), errors.New("unknown flag: --"+name+hint))
			}
			return nil // flagHint has more hints
		case takesWord(root, arg):
			i++
		case !strings.HasPrefix(arg, "-"):
			if found, _, err := root.Find([]string{arg}); err != nil || found == root {
				return noSuchVerb(root, args[i:])
			}
			return nil
		}
	}
	return nil
}
