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

// What a shell waits for when somebody presses the key, and how many words it is given.
const (
	completeTime = time.Second
	completeMost = 1000
)

// A completer says what the word can become that somebody has begun to type.
type completer = cobra.CompletionFunc

// noFiles and files are what a completer returns beside words: whether the shell may
// propose files too.
const (
	noFiles = cobra.ShellCompDirectiveNoFileComp
	files   = cobra.ShellCompDirectiveDefault
)

// atMost makes a completer for the first n arguments alone.
func atMost(n int, complete completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, noFiles
		}
		return complete(cmd, args, word)
	}
}

// valuesOf lets a flag complete to these values alone.
func valuesOf(cmd *cobra.Command, flag string, values ...string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(values, noFiles|cobra.ShellCompDirectiveKeepOrder))
}

// freeValue says that nobody can know the value of a flag.
func freeValue(cmd *cobra.Command, flag string) { completeFlag(cmd, flag, cobra.NoFileCompletions) }

// completeFlag says what the value of a flag can be. Flags without it have files.
func completeFlag(cmd *cobra.Command, flag string, complete completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag, or it was said before
	}
}

// completePaths completes store paths, and symlinks to them.
func (a *app) completePaths(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.completeStore(cmd.Context(), word, func(storepath.Path) bool { return true })
}

// completeInside completes store paths, and files in those that lie on this machine.
func (a *app) completeInside(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if dir, err := a.dir(); err == nil && strings.Contains(strings.TrimPrefix(word, string(dir)+"/"), "/") {
		return nil, files
	}
	return a.completePaths(cmd, args, word)
}

// completeDerivations completes the store paths of derivations.
func (a *app) completeDerivations(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.completeStore(cmd.Context(), word, storepath.Path.IsDerivation)
}

// completeDrvFiles completes the names of .drv files, in the store or elsewhere.
func (a *app) completeDrvFiles(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if dir, err := a.dir(); err == nil && strings.HasPrefix(word, string(dir)+"/") {
		return a.completeDerivations(cmd, args, word)
	}
	return []string{strings.TrimPrefix(storepath.DerivationExt, ".")}, cobra.ShellCompDirectiveFilterFileExt
}

// completeInstallables completes store paths, and after a derivation its outputs.
func (a *app) completeInstallables(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if drv, outputs, ok := strings.Cut(word, "^"); ok {
		return a.completeOutputs(cmd.Context(), drv, outputs), noFiles
	}
	words, directive := a.completePaths(cmd, args, word)
	if len(words) == 1 && strings.HasSuffix(words[0], storepath.DerivationExt) {
		words = append(words, a.completeOutputs(cmd.Context(), words[0], "")...)
	}
	return words, directive
}

// completeOutputs completes the outputs of a derivation, of which some are named already.
func (a *app) completeOutputs(ctx context.Context, drv, outputs string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	paths, err := a.paths([]string{drv})
	if err != nil || !paths[0].IsDerivation() {
		return nil
	}
	before, _ := cutLast(outputs, ",")
	var words []string
	if before == "" {
		words = append(words, drv+"^*")
	}
	for _, name := range a.outputNames(ctx, paths[0]) {
		if !slices.Contains(strings.Split(before, ","), name) {
			words = append(words, drv+"^"+before+name)
		}
	}
	return words
}

// cutLast cuts s behind the last separator.
func cutLast(s, separator string) (before, after string) {
	i := strings.LastIndex(s, separator) + len(separator)
	if i < len(separator) {
		return "", s
	}
	return s[:i], s[i:]
}

// completeStore completes the paths of the store that the flags and the environment name.
func (a *app) completeStore(ctx context.Context, word string, wanted func(storepath.Path) bool) ([]string, cobra.ShellCompDirective) {
	dir, err := a.dir()
	if err != nil {
		return nil, noFiles
	}
	begin := string(dir) + "/"
	switch {
	case strings.HasPrefix(begin, word):
		if word == begin {
			break
		}
		return []string{begin}, cobra.ShellCompDirectiveNoSpace
	case !strings.HasPrefix(word, begin):
		return nil, files // it may be a symlink to a store path
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	var found []string
	for _, p := range a.storePaths(ctx, dir) {
		if strings.HasPrefix(string(p), word) && wanted(p) {
			found = append(found, string(p))
		}
	}
	if len(found) > completeMost {
		return beginnings(found, len(word)), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	slices.Sort(found)
	return found, noFiles
}

// beginnings returns what the words begin with: as few letters more than n as it takes for
// them to differ.
func beginnings(words []string, n int) (all []string) {
	for len(all) < 2 {
		n++
		all = all[:0]
		for _, word := range words {
			all = append(all, word[:min(n, len(word))])
		}
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}

// completeURIs completes what a store can be named by.
func completeURIs(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	const unix, file = "unix://", "file://"
	if path, ok := strings.CutPrefix(word, unix); ok {
		return withPrefix(unix, completeFile(path, os.ModeDir|os.ModeSocket)), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	if path, ok := strings.CutPrefix(word, file); ok {
		return withPrefix(file, completeFile(path, os.ModeDir)), noFiles | cobra.ShellCompDirectiveNoSpace
	}
	schemes := []string{"auto", "daemon", unix + "/", "ssh-ng://", file + "/", "https://"}
	return schemes, noFiles | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
}

func withPrefix(prefix string, words []string) []string {
	for i, word := range words {
		words[i] = prefix + word
	}
	return words
}
