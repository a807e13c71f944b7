package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// storeFlags are the global flags that only verbs with a store use.
var storeFlags = []string{"store", "option", "trace", "trace-bodies", "print-build-logs"}

// verbsOfDir are verbs that open no store, but use the store directory.
var verbsOfDir = []string{"store-path", "narinfo-sign", "narinfo-verify"}

// unusedFlags returns the global flags that a verb accepts and ignores. Scripts may give them to every verb, but its
// help does not show them.
func unusedFlags(verb *cobra.Command) []string {
	switch {
	case verb.Name() == "sign" || verb.Name() == "config":
		return nil
	case !slices.Contains([]string{groupFiles, groupArchives, groupKeys}, verb.GroupID) &&
		!slices.Contains([]string{"completion", "docs", "man", "version"}, verb.Name()):
		return nil
	case slices.Contains(verbsOfDir, verb.Name()):
		return storeFlags
	}
	return append([]string{"store-dir"}, storeFlags...)
}

// hideUnusedFlags hides the flags that a verb ignores, until show is called. All verbs share the global flags.
func hideUnusedFlags(verb *cobra.Command) (show func()) {
	unused := unusedFlags(verb)
	setHidden := func(hidden bool) {
		for _, name := range unused {
			if f := verb.InheritedFlags().Lookup(name); f != nil {
				f.Hidden = hidden
			}
		}
	}
	setHidden(true)
	return func() { setHidden(false) }
}
