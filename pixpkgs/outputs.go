package pixpkgs

import (
	"fmt"
	"iter"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// outputKind returns the common kind of all outputs of n: fixed, floating, impure, or deferred.
// Input-addressed outputs are deferred until their paths are computed.
func (n *normalSpec) outputKind() (derivation.Output, error) {
	s := &n.spec
	var none derivation.Output
	algo, err := n.hashAlgorithm()
	if err != nil {
		return none, err
	}
	method := storepath.NAR
	if s.OutputHashMode != "" {
		if method, err = storepath.ParseMethod(s.OutputHashMode); err != nil {
			return none, n.fail("OutputHashMode", err)
		}
	}
	switch {
	case s.OutputHash != "":
		return n.fixedOutput(method, algo)
	case s.ContentAddressed && s.Impure:
		return none, n.failf("", "it cannot be both ContentAddressed and Impure")
	case s.Impure:
		return derivation.ImpureOutput(method, orSHA256(algo)), nil
	case s.ContentAddressed:
		return derivation.FloatingOutput(method, orSHA256(algo)), nil
	}
	return derivation.DeferredOutput(), nil
}

func orSHA256(a nixhash.Algorithm) nixhash.Algorithm {
	if a == 0 {
		return nixhash.SHA256
	}
	return a
}

// hashAlgorithm returns [Spec.OutputHashAlgo], or 0 if it is not set.
func (n *normalSpec) hashAlgorithm() (nixhash.Algorithm, error) {
	if n.spec.OutputHashAlgo == "" {
		return 0, nil
	}
	algo, err := nixhash.ParseAlgorithm(n.spec.OutputHashAlgo)
	if err != nil {
		return 0, n.fail("OutputHashAlgo", err)
	}
	return algo, nil
}

func (n *normalSpec) fixedOutput(method storepath.Method, algo nixhash.Algorithm) (derivation.Output, error) {
	var none derivation.Output
	if len(n.outputs) != 1 || n.outputs[0] != "out" {
		return none, n.failf("Outputs", "with an OutputHash the only output must be \"out\", not %s", quoted(n.outputs))
	}
	if n.spec.OutputHashMode == "" {
		method = storepath.Flat
	}
	hash, err := nixhash.ParseAny(n.spec.OutputHash, algo)
	if err != nil {
		return none, n.fail("OutputHash", err)
	}
	ca, err := storepath.NewContentAddress(method, hash)
	if err != nil {
		return none, n.fail("OutputHash", err)
	}
	path, err := n.dir.FixedOutputPath(n.spec.Name, ca, storepath.References{})
	if err != nil {
		return none, n.fail("OutputHash", err)
	}
	return derivation.FixedOutput(ca, path), nil
}

// ownVariables returns an iterator over the variables that Nix creates from plain fields. Fields for hashes have
// a variable only if they are set.
func (n *normalSpec) ownVariables() iter.Seq2[string, string] {
	s := &n.spec
	return func(yield func(name, value string) bool) {
		for _, v := range [...]struct {
			name, value string
			always      bool
		}{
			{"name", s.Name, true}, {"system", s.System, true},
			{"outputHash", s.OutputHash, false}, {"outputHashAlgo", s.OutputHashAlgo, false}, {"outputHashMode", s.OutputHashMode, false},
		} {
			if (v.always || v.value != "") && !yield(v.name, v.value) {
				return
			}
		}
	}
}

// fieldOf has the fields of a [Spec] that correspond to attributes of Nix.
var fieldOf = map[string]string{
	"name": "Name", "system": "System", "builder": "Builder", "args": "Args", "outputs": "Outputs",
	"outputHash": "OutputHash", "outputHashAlgo": "OutputHashAlgo", "outputHashMode": "OutputHashMode",
	"__contentAddressed": "ContentAddressed", "__impure": "Impure", "__structuredAttrs": "Attrs", "__json": "Attrs",
}

// checkReserved returns an error if a field or an output determines the variable or attribute.
func (n *normalSpec) checkReserved(field, name string, value any) error {
	if text, ok := value.(String); ok && name == "__structuredAttrs" && text.String() == "" {
		return nil // an explicit false
	}
	if f := fieldOf[name]; f != "" {
		return n.failf(fmt.Sprintf("%s %q", field, name), "set the field %s instead", f)
	}
	if field == "Env" {
		for _, output := range n.outputs {
			if name == output {
				return n.failf(fmt.Sprintf("Env %q", name), "this variable has the path of the output")
			}
		}
	}
	return nil
}
