package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pix/derivation"
	"pix/localstore"
	"pix/store"
)

// drvVerifyOptions are the flags of drv-verify.
type drvVerifyOptions struct {
	stdin, asJSON, strict bool
}

func newDrvVerify(a *app) *cobra.Command {
	var o drvVerifyOptions
	cmd := &cobra.Command{
		Use:   "drv-verify PATH...",
		Short: "Check .drv files: syntax, canonical form, store path, output paths",
		Long: `Check .drv files, and directories of them: that each can be parsed, that its text is what Nix would
write, that its store path follows from its contents and references, and that its output paths
follow from its closure. Inputs are looked for in the directory of the file. A derivation is skipped
if an input that is needed is missing. A store path that is not a file on this machine is looked for
in the store, if that is a store in a directory.

Prints a line for each problem, and a last one: N verified, N failed, N skipped. The exit code is 1
if a file failed.`,
		Example:           "  pix drv-verify /nix/store",
		GroupID:           groupDerivations,
		ValidArgsFunction: a.completeDrvFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, o.stdin)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return wrongArguments(cmd, args, nil)
			}
			sum, err := a.verifyAll(cmd.Context(), args)
			if err != nil {
				return err
			}
			if err := a.printVerifySummary(sum, o); err != nil {
				return err
			}
			if sum.Failed > 0 || o.strict && sum.Skipped > 0 {
				return &silentError{exitNo}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.stdin, "stdin", false, "read more paths from standard input, one per line")
	flags.BoolVar(&o.asJSON, "json", false, "print the numbers and all problems as JSON")
	flags.BoolVar(&o.strict, "strict", false, "also print skipped files, and fail if there are any")
	return cmd
}

// A verifySummary is the result of drv-verify, and its output with --json.
type verifySummary struct {
	Verified int             `json:"verified"`
	Failed   int             `json:"failed"`
	Skipped  int             `json:"skipped"`
	Problems []verifyProblem `json:"problems"`
}

type verifyProblem struct {
	File   string  `json:"file"`
	Status string  `json:"status"` // failed or skipped
	Check  string  `json:"check"`
	Reason string  `json:"reason"`
	Want   *string `json:"want"`
	Got    *string `json:"got"`

	text string // check, reason, want and got in one line
}

// verifyAll verifies files and directories, grouped by directory.
func (a *app) verifyAll(ctx context.Context, args []string) (*verifySummary, error) {
	options, err := a.verifyOptions()
	if err != nil {
		return nil, err
	}
	if args, err = a.objectFiles(ctx, args); err != nil {
		return nil, err
	}
	dirs, err := derivationFiles(args)
	if err != nil {
		return nil, err
	}
	sum := &verifySummary{Problems: []verifyProblem{}}
	for _, d := range dirs {
		results, err := derivation.Verify(ctx, d.dir, d.files, options)
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			sum.add(filepath.Join(string(d.dir), r.File), r)
		}
	}
	if options.Progress != nil {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
	return sum, nil
}

func (a *app) verifyOptions() (*derivation.VerifyOptions, error) {
	o := &derivation.VerifyOptions{}
	if a.flags.storeDir != "" { // else each file has its own, whatever $NIX_STORE_DIR is on this machine
		dir, err := a.dir()
		if err != nil {
			return nil, err
		}
		o.Dir = dir
	}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		var last time.Time
		o.Progress = func(done, total int) {
			if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
				last = now
				fmt.Fprintf(f, "\rverifying %d of %d", done, total)
			}
		}
	}
	return o, nil
}

func (s *verifySummary) add(file string, r derivation.VerifyResult) {
	switch r.Status {
	case derivation.Verified:
		s.Verified++
	case derivation.Failed:
		s.Failed++
	case derivation.Skipped:
		s.Skipped++
	}
	for _, p := range r.Problems {
		s.Problems = append(s.Problems, verifyProblem{
			File: file, Status: r.Status.String(), Check: p.Check.String(), Reason: p.Reason, Want: orNull(p.Want), Got: orNull(p.Got), text: p.String(),
		})
	}
}

func (a *app) printVerifySummary(s *verifySummary, o drvVerifyOptions) error {
	if o.asJSON {
		return a.printJSON(s)
	}
	var b strings.Builder
	for _, p := range s.Problems {
		if p.Status == derivation.Failed.String() || o.strict {
			fmt.Fprintf(&b, "%s %s: %s\n", p.Status, p.File, oneLine(p.text))
		}
	}
	fmt.Fprintf(&b, "%d verified, %d failed, %d skipped\n", s.Verified, s.Failed, s.Skipped)
	return a.print(b.String())
}

// objectFiles returns args with store paths that are not files on this machine replaced by their files in the
// object directory of the store.
func (a *app) objectFiles(ctx context.Context, args []string) ([]string, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	files := slices.Clone(args)
	objects := ""
	for i, arg := range args {
		n, err := parseStoreName(dir, arg)
		if _, statErr := os.Stat(arg); err != nil || statErr == nil || n.hashPart != "" {
			continue
		}
		path := n.path // also of DRV^out
		if _, err := os.Stat(string(path)); err == nil {
			files[i] = string(path)
			continue
		}
		if objects == "" {
			if objects, err = a.objectDir(ctx); err != nil {
				return nil, err
			}
		}
		files[i] = filepath.Join(objects, path.Base())
	}
	return files, nil
}

// objectDir returns the directory that contains the objects of the store.
func (a *app) objectDir(ctx context.Context) (string, error) {
	s, err := a.open(ctx, toRead)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if local, ok := store.As[*localstore.Store](s); ok {
		return local.Info().StoreDir, nil
	}
	return string(s.Dir()), nil
}

// A drvDir is a directory with the names of files in it.
type drvDir struct {
	dir   derivation.Directory
	files []string
}

// derivationFiles groups the files that args name by directory, in the order of args. A directory stands for all
// .drv files in it.
func derivationFiles(args []string) ([]*drvDir, error) {
	var dirs []*drvDir
	byDir := make(map[derivation.Directory]*drvDir)
	for _, arg := range args {
		dir, files, err := filesOf(arg)
		if err != nil {
			return nil, err
		}
		d := byDir[dir]
		if d == nil {
			d = &drvDir{dir: dir}
			byDir[dir] = d
			dirs = append(dirs, d)
		}
		d.files = append(d.files, files...)
	}
	return dirs, nil
}

// filesOf returns the directory and the names of the files that an argument names.
func filesOf(arg string) (derivation.Directory, []string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return "", nil, err
	}
	if !info.IsDir() {
		return derivation.Directory(filepath.Dir(arg)), []string{filepath.Base(arg)}, nil
	}
	dir := derivation.Directory(filepath.Clean(arg))
	files, err := dir.Files()
	if err != nil {
		return "", nil, err
	}
	if len(files) == 0 {
		return "", nil, fmt.Errorf("there is no .drv file in '%s'", arg)
	}
	return dir, files, nil
}
