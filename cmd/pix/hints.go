package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/nixconf"
)

// verbHints are the verbs of pix, by the words that nix, nix-store, nix-env, nvd, nix-tree and nix-diff have for the same.
var verbHints = map[string]string{
	"delete": "pix gc PATH", "collect-garbage": "pix gc", "nix-collect-garbage": "pix gc", "gc-delete": "pix gc PATH",
	"realise": "pix build", "realize": "pix build", "instantiate": "pix drv-add", "develop": "pix shell", "nix-build": "pix build",
	"query": "pix path-info, pix closure, pix referrers, pix derivers or pix outputs", "info": "pix path-info or pix daemon-info",
	"requisites": "pix closure", "references": "pix path-info", "deriver": "pix derivers", "binding": "pix drv-show", "hash-of": "pix path-info", "realisation": "pix build-trace",
	"ping": "pix daemon-info", "store-info": "pix daemon-info", "serve": "pix daemon --stdio", "nix-daemon": "pix daemon",
	"show-derivation": "pix drv-show", "derivation": "pix drv-show or pix drv-add", "show": "pix drv-show", "read-log": "pix log", "print-build-logs": "pix log",
	"diff-closures": "pix diff", "nix-diff": "pix drv-diff", "nvd": "pix diff", "list": "pix valid-paths",
	"push": "pix copy --to", "pull": "pix copy --from", "copy-closure": "pix copy", "fetch": "pix copy --from", "substitute": "pix build",
	"verify-path": "pix verify --no-trust", "print-fixed-path": "pix store-path --mode --hash-algo --hash", "check": "pix verify-store", "repair": "pix verify-store --repair", "repair-path": "pix build --repair",
	"optimize": "pix optimise", "optimise-store": "pix optimise", "dump-path": "pix dump", "nar": "pix nar-ls, pix nar-cat or pix nar-dump", "restore": "pix nar-restore",
	"hash": "pix hash-path, pix hash-file or pix hash-convert", "to-sri": "pix hash-convert", "to-base16": "pix hash-convert --to base16",
	"to-base32": "pix hash-convert --to nix32", "prefetch-file": "pix prefetch", "prefetch-url": "pix prefetch", "nix-prefetch-url": "pix prefetch", "add-file": "pix add --mode flat", "add-path": "pix add", "add-fixed": "pix add --mode flat",
	"key": "pix key-generate or pix key-public", "generate-binary-cache-key": "pix key-generate", "generate-secret": "pix key-generate", "convert-secret-to-public": "pix key-public",
	"sign-paths": "pix sign", "copy-sigs": "pix copy", "store": "pix path-info, pix verify, pix prefetch, pix gc and other verbs without 'store'", "print-roots": "pix roots", "print-dead": "pix gc --dry-run",
	"print-live": "pix gc --explain PATH", "add-temp-root": "pix add-root", "why": "pix why-depends", "show-config": "pix config", "nix-tree": "pix tree", "size": "pix path-info -S",
	"exec": "pix run", "start": "pix daemon", "cat-nar": "pix nar-cat", "ls-nar": "pix nar-ls",
}

// hintForWords is hintFor for the words of a command of Nix, such as "nix store verify".
func hintForWords(root *cobra.Command, words []string) string {
	for rest := words; len(rest) > 1 && slices.Contains([]string{"nix", "store", "nix-store", "nix-env"}, rest[0]); {
		rest = rest[1:]
		if verb, _, err := root.Find(rest[:1]); err == nil && verb != root {
			return fmt.Sprintf(", did you mean 'pix %s'?", rest[0])
		}
		if _, ok := verbHints[rest[0]]; ok && rest[0] != "store" {
			return hintFor(root, rest[0])
		}
	}
	return hintFor(root, words[0])
}

// hintFor returns what to add to the message about an unknown verb; "" if nothing is near to it.
func hintFor(root *cobra.Command, word string) string {
	word = strings.TrimLeft(word, "-")
	if hint, ok := verbHints[word]; ok {
		return fmt.Sprintf(", did you mean '%s'?", hint)
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
	if nixconf.Find(strings.TrimPrefix(name, "extra-")) != nil {
		return "; give the setting as --option " + name + " VALUE"
	}
	if setting := strings.TrimPrefix(name, "no-"); setting != name && nixconf.Find(setting) != nil {
		return "; give the setting as --option " + setting + " false"
	}
	return ""
}
