// Command register generates a set of derivations, and registers them in a store in one stream:
//
//	register -n 2000 -store daemon
//
// Each derivation depends on some before it, whose paths are known although they are not in the store yet.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"pix"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

var (
	number = flag.Int("n", 2000, "the number of derivations")
	uri    = flag.String("store", "auto", "the store: auto, daemon, unix://SOCKET, ssh-ng://HOST or /DIR")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx := context.Background()
	s, err := pix.Open(ctx, *uri, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	last, err := register(ctx, s, *number)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(last)
}

// register adds n derivations to s, and returns the path of the last one.
func register(ctx context.Context, s store.Store, n int) (last storepath.Path, err error) {
	batch := store.NewBatch(s)
	drvs, outputs := make([]storepath.Path, n), make([]storepath.Path, n)
	for i := range n {
		d := generate(i)
		for _, input := range []int{i / 2, i * 9 / 10} {
			if input == i {
				continue
			}
			d.InputDerivations.Set(drvs[input], derivation.OutputsOf("out"))
			d.Env.Set(fmt.Sprint("input", input), string(outputs[input]))
		}
		if drvs[i], err = batch.AddDerivation(ctx, d); err != nil {
			return "", err
		}
		out, _ := d.Outputs.Get("out")
		last, outputs[i] = drvs[i], out.Path()
	}
	return last, batch.Flush(ctx)
}

// generate returns a derivation without inputs. Its output is deferred: its path will be computed.
func generate(i int) *derivation.Derivation {
	d := &derivation.Derivation{
		Name: fmt.Sprintf("package-%d", i), Platform: "x86_64-linux", Builder: "/bin/sh",
		Args: []string{"-c", "echo $name > $out"},
	}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("name", d.Name)
	d.Env.Set("out", "")
	return d
}
