package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pix/daemon"
	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// goNixRegister is a program that adds texts with numtide/go-nix, over 4 connections from 16 goroutines.
//
//go:embed peers/gonixregister.go.txt
var goNixRegister []byte

// A text is an object to be added.
type text struct {
	Name       string
	Contents   string
	References []storepath.Path // come before it
}

// registerRow returns the row of 2,000 derivations that are added to one of the daemons. Both contenders read the same texts from
// a file, so computing the derivations is not measured.
func registerRow(i int) func(l *lab, t *scope) work {
	return func(l *lab, t *scope) work {
		const n = 2000
		if l.goNix == "" {
			t.lacks("numtide/go-nix: -go-nix names no checkout")
		}
		dir, socket := t.TempDir(), l.servers()[i].socket
		file := func(contender string) func(round int) string {
			return func(round int) string {
				file := filepath.Join(dir, fmt.Sprint(contender, round))
				t.check(writeDerivations(file, contender+fmt.Sprint(round), n))
				return file
			}
		}
		ours, theirs := file("pix"), file("gonix")
		w := work{count(n) + " derivations", []contender{
			program("pix", func(round int) *exec.Cmd { return taskCommand("register", socket, ours(round)) }),
		}}
		if l.goNix != "" {
			peer := l.buildGoNix(t, goNixRegister)
			w.contenders = append(w.contenders, program("numtide/go-nix", func(round int) *exec.Cmd { return exec.Command(peer, socket, theirs(round)) }))
		}
		return w
	}
}

// writeDerivations writes n derivations to a file. Each depends on two before it.
func writeDerivations(file, prefix string, n int) error {
	ctx := context.Background()
	batch := store.NewBatch(memstore.New(nil))
	drvs, texts := make([]storepath.Path, n), make([]text, n)
	for i := range n {
		d := &derivation.Derivation{Name: fmt.Sprint(prefix, "-", i), Platform: "x86_64-linux", Builder: "/bin/sh"}
		d.Outputs.Set("out", derivation.DeferredOutput())
		d.Env.Set("name", d.Name)
		d.Env.Set("out", "")
		for _, input := range []int{i / 2, i * 9 / 10} {
			if input < i {
				d.InputDerivations.Set(drvs[input], derivation.OutputsOf("out"))
			}
		}
		var err error
		if drvs[i], err = batch.AddDerivation(ctx, d); err != nil {
			return err
		}
		texts[i] = text{drvs[i].Name(), string(d.AppendATerm(nil)), nil}
		for p := range d.References().All() {
			texts[i].References = append(texts[i].References, p)
		}
	}
	b, err := json.Marshal(texts)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// registerTexts adds the texts in a file in one stream. The arguments are SOCKET FILE.
func registerTexts(args []string) (time.Duration, error) {
	ctx := context.Background()
	b, err := os.ReadFile(args[1])
	if err != nil {
		return 0, err
	}
	var texts []text
	if err := json.Unmarshal(b, &texts); err != nil {
		return 0, err
	}
	conn, err := daemon.Dial(ctx, args[0], nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return repeat(1, func() error {
		return store.AddMultiple(ctx, conn, len(texts), func(yield func(store.Import, error) bool) {
			for _, t := range texts {
				if !yield(store.ImportText(conn.Dir(), t.Name, t.Contents, t.References)) {
					return
				}
			}
		}, nil)
	})
}
