// Command deploy switches a profile to a new path, as deployment tools do with the profile of a system. It prints how the
// closure changes, switches, runs a check, and switches back if the check fails. It keeps the last generations.
//
//	deploy -profile /nix/var/nix/profiles/service -check 'systemctl restart service' /nix/store/…-service-1.1
//
// The path must be valid in the store: build or copy it first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"

	"pix"
	"pix/closure"
	"pix/profile"
	"pix/store"
	"pix/storepath"
)

// A deployment says what to deploy.
type deployment struct {
	link  string // the symlink of the profile
	path  string
	check string // a shell command that fails if the new generation does not work; "" for none
	keep  uint64 // how many generations remain
}

func main() {
	log.SetFlags(0)
	var d deployment
	uri := flag.String("store", "auto", "the store")
	flag.StringVar(&d.link, "profile", "", "the symlink of the profile")
	flag.StringVar(&d.check, "check", "", "a shell command that checks the new generation")
	flag.Uint64Var(&d.keep, "keep", 5, "how many generations remain")
	flag.Parse()
	if d.link == "" || flag.NArg() != 1 {
		log.Fatal("usage: deploy -profile LINK [-check COMMAND] [-keep N] PATH")
	}
	d.path = flag.Arg(0)
	ctx := context.Background()
	s, err := pix.Open(ctx, *uri, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := d.run(ctx, s, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run deploys the path. After a failed check the profile points to the generation to which it pointed before.
func (d *deployment) run(ctx context.Context, s store.Store, out io.Writer) error {
	path, err := s.Dir().Parse(d.path)
	if err != nil {
		return err
	}
	p, err := profile.Resolve(s.Dir(), d.link)
	if err != nil {
		return err
	}
	before, err := p.Current(ctx)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return err
	}
	if !first {
		if err := printChange(ctx, s, before.Path, path, out); err != nil {
			return err
		}
	}
	g, err := p.Set(ctx, s, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "generation %d: %s\n", g.Number, g.Path.Name())
	if err := d.runCheck(ctx, out); err != nil {
		if first {
			return fmt.Errorf("the check failed, and there is no generation before: %w", err)
		}
		if _, switchErr := p.Switch(ctx, before.Number); switchErr != nil {
			return errors.Join(err, switchErr)
		}
		return fmt.Errorf("the check failed, and generation %d is current again: %w", before.Number, err)
	}
	deleted, err := p.Delete(ctx, profile.KeepLast(d.keep))
	for _, g := range deleted {
		fmt.Fprintf(out, "deleted generation %d\n", g.Number)
	}
	return err
}

// printChange prints which packages change.
func printChange(ctx context.Context, s store.Store, from, to storepath.Path, out io.Writer) error {
	both, err := closure.Load(ctx, s, from, to)
	if err != nil {
		return err
	}
	for _, p := range closure.Compare(both.Of(from), both.Of(to)).Packages {
		fmt.Fprintf(out, "%s: %q -> %q\n", p.Name, p.Before, p.After)
	}
	return nil
}

// runCheck runs the check.
func (d *deployment) runCheck(ctx context.Context, out io.Writer) error {
	if d.check == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", d.check)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd.Run()
}
