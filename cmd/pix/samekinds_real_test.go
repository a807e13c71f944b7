package main

import (
	"fmt"
	"strings"
)

// kindFeatures are the experimental features that the kinds of outputs need.
const kindFeatures = "nix-command ca-derivations impure-derivations dynamic-derivations"

// address makes the paths of the outputs depend on their contents, and reports whether the build should succeed and other
// derivations may use the outputs. A derivation that uses a floating output is deferred.
func (g *generated) address() bool {
	const floating = " __contentAddressed = true; outputHashAlgo = \"sha256\"; outputHashMode = "
	switch n := g.r.IntN(5); {
	case n == 0:
		// The scratch path of an impure output is random, so neither the log nor a file for the builder may contain it.
		g.kind = append(g.kind, "impure")
		g.attrs.WriteString(" __impure = true;")
		g.script.WriteString(" echo impure;\n")
		return false
	case n == 1:
		g.kind = append(g.kind, "flat")
		g.attrs.WriteString(floating + "\"flat\";")
		return false
	default:
		g.kind = append(g.kind, "floating")
		g.attrs.WriteString(floating + "\"recursive\";")
		return true
	}
}

// text makes a derivation with an output that is addressed as a text.
func (g *generated) text() bool {
	g.outputs = g.outputs[:1]
	g.kind = append(g.kind, "text")
	g.attrs.WriteString(" deps = [ " + strings.Join(g.deps, " ") + " ];" + textAttrs)
	g.log()
	g.output("out")
	return false
}

const textAttrs = " __contentAddressed = true; outputHashMode = \"text\"; outputHashAlgo = \"sha256\";"

// dynamic makes a derivation that uses the output of a derivation that another one yields.
func (g *generated) dynamic() bool {
	g.outputs = g.outputs[:1]
	g.kind = append(g.kind, "dynamic")
	yield := "cp ${builtins.unsafeDiscardOutputDependency " + g.deps[0] + ".drvPath} $out"
	if g.r.IntN(4) == 0 {
		g.kind = append(g.kind, "garbage")
		yield = "echo no derivation > $out"
	}
	fmt.Fprintf(&g.attrs, ` yielded = builtins.outputOf (make { name = "%s-%d.drv"; args = [ "-c" "trap : EXIT; %s" ];%s }).outPath "out";`, g.deps[0], g.r.IntN(1000), yield, textAttrs)
	g.log()
	g.script.WriteString(" [ -e $yielded ] && echo $yielded > $out\n")
	return false
}
