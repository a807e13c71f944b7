// Command pipeline declares a chain of steps. The input of each step is the output of the previous one. If a step changes,
// only that step and the steps after it get new paths and are built again.
package main

import (
	"context"
	"embed"

	"pix/examples/internal/run"
	"pix/pixpkgs"
)

//go:embed words/words.txt
var words embed.FS

// A step is one stage of the pipeline: a script that reads $input and writes $out.
type step struct{ name, script string }

// steps turn a list of words into a report. They use only builtins of the shell.
var steps = []step{
	{"upper", `while read word; do case $word in store) echo STORE;; *) echo $word;; esac; done < $input > $out`},
	{"count", `n=0; while read word; do n=$((n+1)); done < $input; { echo $n words; while read word; do echo $word; done < $input; } > $out`},
	{"report", `{ echo report; while read line; do echo "- $line"; done < $input; } > $out`},
}

// declare returns one package for each step.
func declare(ctx context.Context) (packages []*pixpkgs.Package, err error) {
	source, err := pixpkgs.SourceFS(ctx, words, "words/words.txt", nil)
	if err != nil {
		return nil, err
	}
	var input any = source
	for _, s := range steps {
		p, err := pixpkgs.Derive(pixpkgs.Spec{
			Name:    s.name,
			System:  "x86_64-linux",
			Builder: "/bin/sh",
			Args:    []any{"-e", "-c", s.script},
			Env:     map[string]any{"input": input},
		})
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
		input = p
	}
	return packages, nil
}

func main() { run.Main(declare) }
