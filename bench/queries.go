package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"pix/daemon"
	"pix/storepath"
)

// goNixQueries is a program that makes lone queries with numtide/go-nix. It is built in a module of its own.
//
//go:embed peers/gonix.go.txt
var goNixQueries []byte

// A querySet is a set of paths in the store of Nix's daemon, and the programs that query it.
type querySet struct {
	file  string // has the paths
	goNix string // the program; "" if there is none
}

// queries returns the shared paths, and builds the peer.
func (l *lab) queries(t *scope) *querySet {
	if l.queried == nil {
		dir := l.shared.TempDir()
		q := &querySet{file: filepath.Join(dir, "paths")}
		c, err := dialRaw(l.servers()[1].socket)
		t.check(err)
		defer c.nc.Close()
		var text []byte
		for _, path := range addTexts(t, c, 1000) {
			text = fmt.Appendln(text, path)
		}
		t.check(os.WriteFile(q.file, text, 0o644))
		if l.goNix != "" {
			q.goNix = l.buildGoNix(t, goNixQueries)
		}
		l.queried = q
	}
	if l.goNix == "" {
		t.lacks("numtide/go-nix: -go-nix names no checkout")
	}
	return l.queried
}

// buildGoNix builds a program with numtide/go-nix, and returns its path.
func (l *lab) buildGoNix(t *scope, text []byte) string {
	checkout, err := filepath.Abs(l.goNix)
	t.check(err)
	source := l.shared.TempDir()
	t.check(os.WriteFile(filepath.Join(source, "main.go"), text, 0o644))
	module := "module peer\n\ngo 1.26\n\nrequire github.com/nix-community/go-nix v0.0.0\n\nreplace github.com/nix-community/go-nix => " + checkout + "\n"
	t.check(os.WriteFile(filepath.Join(source, "go.mod"), []byte(module), 0o644))
	program := filepath.Join(source, "peer")
	for _, args := range [][]string{{"mod", "tidy"}, {"build", "-o", program, "."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = source
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building the program with numtide/go-nix: %w: %s", err, lastLine(string(out)))
		}
	}
	return program
}

func loneRow(l *lab, t *scope) work      { return l.queryWork(t, "lone", 20_000) }
func pipelinedRow(l *lab, t *scope) work { return l.queryWork(t, "pipelined", 100_000) }

// queryWork returns the work of queries on one connection to Nix's daemon. numtide/go-nix does not pipeline: it makes lone
// queries in both rows.
func (l *lab) queryWork(t *scope, mode string, n int) work {
	q := l.queries(t)
	socket, times := l.nix.Socket, strconv.Itoa(n/1000)
	w := work{count(n) + " path infos", []contender{task("pix", mode, socket, q.file, times)}}
	if q.goNix != "" {
		w.contenders = append(w.contenders, program("numtide/go-nix, lone", func(int) *exec.Cmd { return exec.Command(q.goNix, socket, q.file, times) }))
	}
	return w
}

// A querier has a connection, and the paths to query several times.
type querier struct {
	conn  *daemon.Conn
	paths []storepath.Path
	times int
}

// newQuerier returns a querier for the arguments SOCKET FILE TIMES.
func newQuerier(ctx context.Context, args []string) (*querier, error) {
	q := new(querier)
	text, err := os.ReadFile(args[1])
	if err != nil {
		return nil, err
	}
	for _, line := range lines(string(text)) {
		path, err := storepath.DefaultDir.Parse(line)
		if err != nil {
			return nil, err
		}
		q.paths = append(q.paths, path)
	}
	if q.times, err = strconv.Atoi(args[2]); err != nil {
		return nil, err
	}
	q.conn, err = daemon.Dial(ctx, args[0], nil)
	return q, err
}

func loneQueries(args []string) (time.Duration, error) {
	ctx := context.Background()
	q, err := newQuerier(ctx, args)
	if err != nil {
		return 0, err
	}
	defer q.conn.Close()
	return repeat(q.times, func() error {
		for _, path := range q.paths {
			if _, err := q.conn.QueryPathInfo(ctx, path); err != nil {
				return err
			}
		}
		return nil
	})
}

func pipelinedQueries(args []string) (time.Duration, error) {
	ctx := context.Background()
	q, err := newQuerier(ctx, args)
	if err != nil {
		return 0, err
	}
	defer q.conn.Close()
	return repeat(q.times, func() error {
		for _, err := range q.conn.QueryPathInfos(ctx, q.paths) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}
