package pixpkgs

import (
	"fmt"
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// OutputOf returns the path of an output of a derivation that is itself the output of a package. The
// derivation exists only after that package was built, so a placeholder stands for the path. A package
// that mentions it is dynamic: the store builds the derivation, then the output of the derivation. In Nix
// this is builtins.outputOf.
//
// drv is a package whose default output is a derivation, such as a package named "x.drv" with
// [Spec.ContentAddressed] and the OutputHashMode "text", or one of its outputs. It may be the result of
// another OutputOf, for an output of a derivation that builds a derivation. With [Package.Drv], OutputOf
// is the same as [Package.Out].
func OutputOf(drv any, output string) String {
	s, ok := mention(drv)
	switch {
	case !ok:
		return String{err: fmt.Errorf("OutputOf requires a package or an output, not a value of type %T", drv)}
	case s.err != nil:
		return s
	case output == "" || storepath.CheckName(output) != nil:
		return String{err: fmt.Errorf("OutputOf: %q is not valid as an output name", output)}
	}
	if len(s.parts) == 1 {
		p := s.parts[0]
		switch p.kind {
		case outputPart:
			p.nested = append(slices.Clip(p.nested), output)
			return String{parts: []part{p}}
		case drvPart:
			return String{parts: []part{{kind: outputPart, pkg: p.pkg, lazy: p.lazy, text: output}}}
		case literalPart, rawPart, objectPart, pathPart, ownPart:
		}
	}
	return String{err: fmt.Errorf("OutputOf requires a package or an output, but %.100q is a text", s)}
}

// nestedText returns the placeholder of an output of a derivation that p builds as its output first.
func (p *Package) nestedText(first string, nested []string) string {
	o, err := p.output(first)
	if err != nil {
		return unprintable(err)
	}
	placeholder, err := storepath.OutputPlaceholder(p.path, o.name)
	for i := 0; i < len(nested) && err == nil; i++ {
		placeholder, err = placeholder.Output(nested[i])
	}
	if err != nil {
		return unprintable(err)
	}
	return string(placeholder)
}

// addDynamic adds the last of the nested outputs to used.
func addDynamic(used *derivation.Map[string, derivation.InputOutputs], first string, nested []string) {
	below, _ := used.Get(first)
	if len(nested) == 1 {
		below.Names.Add(nested[0])
	} else {
		addDynamic(&below.Dynamic, nested[0], nested[1:])
	}
	used.Set(first, below)
}

// dynamicParts returns the mentions of all used outputs of derivations that pkg builds.
func dynamicParts(pkg *Package, used derivation.Map[string, derivation.InputOutputs]) (parts []part) {
	var add func(first string, nested []string, used derivation.InputOutputs)
	add = func(first string, nested []string, used derivation.InputOutputs) {
		nested = slices.Clip(nested)
		for name := range used.Names.All() {
			parts = append(parts, part{kind: outputPart, pkg: pkg, text: first, nested: append(nested, name)})
		}
		for name, below := range used.Dynamic.All() {
			add(first, append(nested, name), below)
		}
	}
	for first, below := range used.All() {
		add(first, nil, below)
	}
	return parts
}
