package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

func newDrvVerify(a *app) *cobra.Command {
	var stdin, asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "drv-verify PATH...",
		Short: "Check .drv files: syntax, canonical form, store path, output paths",
		Long: `Check .drv files, and directories of them: that each can be read, that it is what Nix would
have written, that its own store path follows from its content and references, and that
its output paths follow from its closure. Inputs are looked for in the directory that a file
lies in. A derivation is skipped if an input is missing that is needed. A store path that is no
file on this machine is looked for in the store, if that is one in a directory.

A line for each problem, and a last one: N verified, N failed, N skipped. The exit code is 1
if one failed.`,
		Example:           "  pix drv-verify /nix/store",
		GroupID:           groupDerivations,
		ValidArgsFunction: a.completeDrvFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if stdin {
				lines, err := readLines(a.stdin)
				if err != nil {
					return err
				}
				args = append(args, lines...)
			}
			if len(args) == 0 {
				return wrongArguments(cmd, args, nil)
			}
			sum, err := a.verifyAll(cmd.Context(), args)
			if err != nil {
				return err
			}
			if err := a.printSummary(sum, asJSON, strict); err != nil {
				return err
			}
			if sum.Failed > 0 || strict && sum.Skipped > 0 {
				return &silentError{exitNo}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&stdin, "stdin", false, "read more paths from standard input, one per line")
	flags.BoolVar(&asJSON, "json", false, "print the numbers, and all problems, as JSON")
	flags.BoolVar(&strict, "strict", false, "also name what was skipped, and fail if anything was")
	return cmd
}

// longestLine is how many bytes a line of standard input may have. Names of files have at most
// 4,096.
const longestLine = 1 << 20

// readLines returns the lines of r that are not empty.
func readLines(r io.Reader) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, longestLine)
	for scanner.Scan() {
		if line := strings.TrimRight(scanner.Text(), "\r"); line != "" {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d has more than %d bytes", len(lines)+1, longestLine)
	} else if err != nil {
		return nil, err
	}
	return lines, nil
}

// A verifySummary is what drv-verify has found out, and what --json prints of it.
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

	text string // check, reason, want and got in a line
}

// verifyAll verifies files and directories, one directory after the other.
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
	if a.flags.storeDir != "" { // else each file says it; $NIX_STORE_DIR is the store's of this machine
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

func (a *app) printSummary(s *verifySummary, asJSON, strict bool) error {
	if asJSON {
		text, err := marshalJSON(s)
		if err != nil {
			return err
		}
		return a.print(text)
	}
	var b strings.Builder
	for _, p := range s.Problems {
		if p.Status == derivation.Failed.String() || strict {
			fmt.Fprintf(&b, "%s %s: %s\n", p.Status, p.File, oneLine(p.text))
		}
	}
	fmt.Fprintf(&b, "%d verified, %d failed, %d skipped\n", s.Verified, s.Failed, s.Skipped)
	return a.print(b.String())
}

// objectFiles returns where the files are that args name. A store path that is no file on this
// machine is looked for where a store in a directory has its objects.
func (a *app) objectFiles(ctx context.Context, args []string) ([]string, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	files := slices.Clone(args)
	objects := ""
	for i, arg := range args {
		path, err := dir.Parse(arg)
		if _, statErr := os.Stat(arg); err != nil || statErr == nil {
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

// objectDir returns the directory in which the objects of the store are.
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

// A drvDir is a directory, and the files in it that are to be verified.
type drvDir struct {
	dir   derivation.Directory
	files []string
}

// derivationFiles groups the files that args name by directory, in the order in which
// they are named. A directory stands for all .drv files in it.
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

// filesOf returns the directory and the files that an argument names.
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
