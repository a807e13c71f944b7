package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/docs"
	"pix/nixconf"
)

// verbHints are the verbs of pix, by the words that nix, nix-store and nix-env have for the same.
var verbHints = map[string]string{
	"add-file":                  "pix add --mode flat",
	"add-fixed":                 "pix add --mode flat",
	"add-path":                  "pix add",
	"add-temp-root":             "pix add-root",
	"affects":                   "pix explain --affects",
	"binding":                   "pix drv-show",
	"browse":                    "pix view",
	"browser":                   "pix view",
	"cat-nar":                   "pix nar-cat",
	"check":                     "pix verify-store",
	"collect-garbage":           "pix gc",
	"compare":                   "pix diff or pix explain --against",
	"convert-secret-to-public":  "pix key-public",
	"copy-closure":              "pix copy",
	"copy-sigs":                 "pix copy",
	"delete":                    "pix gc PATH",
	"delete-generations":        "pix profile delete-generations",
	"derivation":                "pix drv-show or pix drv-add",
	"deriver":                   "pix path-info",
	"develop":                   "pix shell",
	"diff-closures":             "pix diff",
	"documentation":             "pix docs",
	"download":                  "pix copy --from",
	"du":                        "pix path-info --table",
	"dump-path":                 "pix dump",
	"env":                       "pix profile",
	"exec":                      "pix run",
	"faq":                       "pix docs questions",
	"fetch":                     "pix copy --from",
	"gc-delete":                 "pix gc PATH",
	"generate-binary-cache-key": "pix key-generate",
	"generate-secret":           "pix key-generate",
	"generations":               "pix profile history",
	"graphml":                   "pix graph --graphml",
	"hash":                      "pix hash-path, pix hash-file or pix hash-convert",
	"hash-of":                   "pix path-info",
	"history":                   "pix profile history",
	"info":                      "pix path-info or pix daemon-info",
	"instantiate":               "pix drv-add",
	"key":                       "pix key-generate or pix key-public",
	"list":                      "pix valid-paths",
	"list-generations":          "pix profile history",
	"ls-nar":                    "pix nar-ls",
	"manual":                    "pix docs",
	"nar":                       "pix nar-ls, pix nar-cat or pix nar-dump",
	"optimise-store":            "pix optimise",
	"optimize":                  "pix optimise",
	"ping":                      "pix daemon-info",
	"prefetch-file":             "pix prefetch",
	"prefetch-url":              "pix prefetch",
	"print-build-logs":          "pix log",
	"print-dead":                "pix gc --dry-run",
	"print-fixed-path":          "pix store-path --mode --hash-algo --hash",
	"print-live":                "pix gc --explain PATH",
	"print-roots":               "pix roots",
	"proxy":                     "pix monitor",
	"pull":                      "pix copy --from",
	"query":                     "pix path-info, pix closure, pix referrers, pix derivers or pix outputs",
	"read-log":                  "pix log",
	"realisation":               "pix build-trace",
	"realise":                   "pix build",
	"realize":                   "pix build",
	"references":                "pix path-info",
	"referrers-closure":         "pix referrers --closure",
	"repair":                    "pix build --repair or pix verify-store --repair",
	"repair-path":               "pix build --repair",
	"requisites":                "pix closure",
	"restore":                   "pix nar-restore",
	"rollback":                  "pix profile rollback",
	"set":                       "pix profile set",
	"show":                      "pix drv-show",
	"show-config":               "pix config",
	"show-derivation":           "pix drv-show",
	"sign-paths":                "pix sign",
	"size":                      "pix path-info --table",
	"sizes":                     "pix path-info --table",
	"spy":                       "pix monitor",
	"start":                     "pix daemon",
	"store":                     "pix path-info, pix verify, pix prefetch or pix gc",
	"store-info":                "pix daemon-info",
	"strace":                    "pix monitor",
	"substitute":                "pix build",
	"switch-generation":         "pix profile switch",
	"to-base16":                 "pix hash-convert --to base16",
	"to-base32":                 "pix hash-convert --to nix32",
	"to-sri":                    "pix hash-convert",
	"trace":                     "pix monitor",
	"treemap":                   "pix view",
	"tutorial":                  "pix docs",
	"upload":                    "pix push or pix copy --to URI",
	"verify-path":               "pix verify --no-trust",
	"visualise":                 "pix view",
	"visualize":                 "pix view",
	"watch-store":               "pix push --watch",
	"web":                       "pix view",
	"why":                       "pix why-depends",
	"why-rebuilt":               "pix explain --why-rebuilt",
	"wipe-history":              "pix profile wipe-history",
}

// hintForWords is hintFor for the words of a command line of another program, such as "nix store verify --all".
func hintForWords(root *cobra.Command, words []string) string {
	for _, program := range []string{words[0], "nix"} {
		rest := words
		if program == words[0] {
			rest = words[1:]
		}
		if hint := hintForLine(program, rest); hint != "" {
			return hint
		}
	}
	if words[0] == "nix" && len(words) > 1 {
		if verb, _, err := root.Find(words[1:2]); err == nil && verb != root {
			return fmt.Sprintf(", did you mean 'pix %s'?", verb.Name())
		}
		return hintFor(root, words[1])
	}
	return hintFor(root, words[0])
}

// hintFor returns what to add to the message about an unknown verb; "" if nothing is near to it.
func hintFor(root *cobra.Command, word string) string {
	word = strings.TrimLeft(word, "-")
	if hint, ok := verbHints[word]; ok {
		return didYouMean(hint)
	}
	if _, ok := docs.Get(word); ok {
		return didYouMean("pix docs " + word)
	}
	// In a short word two changed letters leave nothing in common.
	root.SuggestionsMinimumDistance = 2
	if len(word) < 5 {
		root.SuggestionsMinimumDistance = 1
	}
	if like := root.SuggestionsFor(word); len(like) > 0 {
		return ", did you mean " + strings.Join(like, " or ") + "?"
	}
	return ""
}

// flagHint returns what to add to the message about an unknown flag of a verb, or of pix itself: a verb in place of an
// operation of nix-store, such as --dump-db, or a setting. Nix has a flag for each setting.
func flagHint(cmd *cobra.Command, name string) string {
	if !cmd.HasParent() {
		if hint := hintFor(cmd, name); hint != "" {
			return hint
		}
	}
	if hint, ok := flagHints[cmd.Name()+" --"+name]; ok {
		return hint
	}
	if nixconf.Find(strings.TrimPrefix(name, "extra-")) != nil {
		return "; give the setting as --option " + name + " VALUE"
	}
	if setting := strings.TrimPrefix(name, "no-"); setting != name && nixconf.Find(setting) != nil {
		return "; give the setting as --option " + setting + " false"
	}
	return ""
}

// hintedVerb returns the only verb that a hint proposes, so that an error refers to its help. If there is none, or there
// are several, it returns cmd, whose command line was wrong.
func hintedVerb(cmd *cobra.Command, hint string) *cobra.Command {
	parent := cmd.Root()
	_, words, ok := strings.Cut(hint, "'pix ")
	if ok {
		words, _, _ = strings.Cut(words, "'")
	} else if words, ok = strings.CutPrefix(hint, ", did you mean "); ok {
		parent, words = cmd, strings.TrimSuffix(words, "?")
	}
	if !ok || strings.Contains(words, " or ") || strings.Contains(hint, "' or 'pix") {
		return cmd
	}
	if verb, _, err := parent.Find(strings.Fields(words)); err == nil && verb != cmd.Root() {
		return verb
	}
	return cmd
}
