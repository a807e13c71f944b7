package pixpkgs

import (
	"fmt"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// outputKind returns what all outputs of n are: fixed, floating, impure, or else
// deferred, which is what an input-addressed output is until its path is computed.
func (n *normal) outputKind() (derivation.Output, error) {
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

// hashAlgorithm returns the algorithm that is named; 0 for none.
func (n *normal) hashAlgorithm() (nixhash.Algorithm, error) {
	if n.spec.OutputHashAlgo == "" {
		return 0, nil
	}
	algo, err := nixhash.ParseAlgorithm(n.spec.OutputHashAlgo)
	if err != nil {
		return 0, n.fail("OutputHashAlgo", err)
	}
	return algo, nil
}

func (n *normal) fixedOutput(method storepath.Method, algo nixhash.Algorithm) (derivation.Output, error) {
	var none derivation.Output
	if len(n.outputs) != 1 || n.outputs[0] != "out" {
		return none, n.failf("Outputs", "with an OutputHash there is one output, \"out\", and not %s", quoted(n.outputs))
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

// ownVariables are what Nix calls the fields that stand in the environment, and the value
// of each; "" for those that stand there only if they are set.
func (n *normal) ownVariables() []variable {
	s := &n.spec
	all := []variable{{"name", literal(s.Name)}, {"system", literal(s.System)}, {"builder", n.builder}}
	for _, v := range []struct{ name, value string }{
		{"outputHash", s.OutputHash}, {"outputHashAlgo", s.OutputHashAlgo}, {"outputHashMode", s.OutputHashMode},
	} {
		if v.value != "" {
			all = append(all, variable{v.name, literal(v.value)})
		}
	}
	return all
}

// fields are the attributes of Nix that are fields of a [Spec].
var fields = map[string]string{
	"name": "Name", "system": "System", "builder": "Builder", "args": "Args", "outputs": "Outputs",
	"outputHash": "OutputHash", "outputHashAlgo": "OutputHashAlgo", "outputHashMode": "OutputHashMode",
	"__contentAddressed": "ContentAddressed", "__impure": "Impure", "__structuredAttrs": "Attrs", "__json": "Attrs",
}

// checkReserved refuses a variable or attribute that is made of something else.
func (n *normal) checkReserved(field, name string) error {
	if instead := fields[name]; instead != "" {
		return n.failf(fmt.Sprintf("%s %q", field, name), "set the field %s instead", instead)
	}
	if field == "Env" {
		for _, output := range n.outputs {
			if name == output {
				return n.failf(fmt.Sprintf("Env %q", name), "it is the variable of an output, which has its path")
			}
		}
	}
	return nil
}
