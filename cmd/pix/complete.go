package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pix/storepath"
)

// The user waits for the shell while it completes, so a completion has a time limit and a maximum number of words.
const (
	completeTimeout = time.Second
	maxCompletions  = 1000
)

// A completer returns the words that begin with a prefix and fit at the cursor.
type completer = cobra.CompletionFunc

// A completer also returns whether the shell may complete file names.
const (
	noFiles = cobra.ShellCompDirectiveNoFileComp
	files   = cobra.ShellCompDirectiveDefault
)

// atMost returns a completer that completes only the first n arguments.
func atMost(n int, complete completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, noFiles
		}
		return complete(cmd, args, word)
	}
}

// valuesOf completes a flag to a fixed list of values.
func valuesOf(cmd *cobra.Command, flag string, values ...string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(values, noFiles|cobra.ShellCompDirectiveKeepOrder))
}

// freeValue declares that the values of a flag cannot be completed. Without it the shell completes file names.
func freeValue(cmd *cobra.Command, flag string) { completeFlag(cmd, flag, cobra.NoFileCompletions) }

// completeFiles completes the names of files.
func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeDirs completes the names of directories.
func completeDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeFlag sets the completer of a flag.
func completeFlag(cmd *cobra.Command, flag string, complete completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag does not exist, or has a completer already
	}
}

// completePaths completes store paths, symlinks to them, files in store objects of this machine, and the names of outputs
// after a derivation and ^.
func (a *app) completePaths(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	if dir, err := a.dir(); err == nil {
		if base, ok := strings.CutPrefix(word, string(dir)+"/"); ok && strings.Contains(base, "/") {
			return nil, files
		}
	}
	if drv, outputs, ok := strings.Cut(word, "^"); ok {
		return a.completeOutputs(cmd.Context(), drv, outputs), noFiles
	}
	return a.completeStore(cmd.Context(), "", word, anyPath)
}

// completePathsOf is like completePaths for the store that the flag --from names.
func (a *app) completePathsOf(from *string) completer {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeStore(cmd.Context(), *from, word, anyPath)
	}
}

func anyPath(storepath.Path) bool { return true }

// completeDerivations completes the store paths of derivations.
func (a *app) completeDerivations(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.completeStore(cmd.Context(), "", word, storepath.Path.IsDerivation)
}

// completeDrvFiles completes the names of .drv files, in the store or elsewhere.
func (a *app) completeDrvFiles(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if dir, err := a.dir(); err == nil && strings.HasPrefix(word, string(dir)+"/") {
		return a.completeDerivations(cmd, args, word)
	}
	return []string{strings.TrimPrefix(storepath.DerivationExt, ".")}, cobra.ShellCompDirectiveFilterFileExt
}

// completeInstallables is like completePaths, and proposes the outputs of a derivation beside it.
func (a *app) completeInstallables(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	words, directive := a.completePaths(cmd, args, word)
	if len(words) == 1 && strings.HasSuffix(words[0], storepath.DerivationExt) {
		words = append(words, a.completeOutputs(cmd.Context(), words[0], "")...)
	}
	return words, directive
}

// completeOutputs completes the next name in a list of outputs, such as "out,dev".
func (a *app) completeOutputs(ctx context.Context, drv, outputs string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	names, err := a.names([]string{drv})
	if err != nil || !names[0].path.IsDerivation() {
		return nil
	}
	before, _ := cutLast(outputs, ",")
	var words []string
	if before == "" {
		words = append(words, drv+"^*")
	}
	for _, name := range a.outputNames(ctx, names[0].path) {
		if !slices.Contains(strings.Split(before, ","), name) {
			words = append(words, drv+"^"+before+name)
		}
	}
	return words
}

// cutLast splits s after the last separator.
func cutLast(s, separator string) (before, after string) {
	i := strings.LastIndex(s, separator) + len(separator)
	if i < len(separator) {
		return "", s
	}
	return s[:i], s[i:]
}

// completeStore completes the paths of a store for which include returns true. The URI is as in openOptions.
func (a *app) completeStore(ctx context.Context, uri, word string, include func(storepath.Path) bool) ([]string, cobra.ShellCompDirective) {
	dir, err := a.dir()
	if err != nil {
		return nil, noFiles
	}
	prefix := string(dir) + "/"
	switch {
	case word == prefix:
	case strings.HasPrefix(prefix, word):
		return []string{prefix}, cobra.ShellCompDirectiveNoSpace
	case !strings.HasPrefix(word, prefix):
		return nil, files // it may be a symlink to a store path
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	var found []string
	for _, p := range a.storePaths(ctx, uri, dir) {
		if strings.HasPrefix(string(p), word) && include(p) {
			found = append(found, string(p))
		}
	}
	if len(found) > maxCompletions {
		return prefixes(found, len(word)), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	slices.Sort(found)
	return found, noFiles
}

// prefixes returns the different prefixes of the words, with the smallest length greater than n at which there
// are at least two.
func prefixes(words []string, n int) (different []string) {
	for len(different) < 2 {
		n++
		different = different[:0]
		for _, word := range words {
			different = append(different, word[:min(n, len(word))])
		}
		slices.Sort(different)
		different = slices.Compact(different)
	}
	return different
}

// completeURIs completes store URIs.
func completeURIs(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	const unix, file = "unix://", "file://"
	if path, ok := strings.CutPrefix(word, unix); ok {
		return withPrefix(unix, completeFile(path, os.ModeDir|os.ModeSocket)), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	if path, ok := strings.CutPrefix(word, file); ok {
		return withPrefix(file, completeFile(path, os.ModeDir)), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	schemes := []string{"auto", "daemon", unix + "/", "ssh-ng://", file + "/", "https://", "s3://"}
	return schemes, noFiles | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
}

func withPrefix(prefix string, words []string) []string {
	for i, word := range words {
		words[i] = prefix + word
	}
	return words
}
