package derivation

import (
	"fmt"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

func (p *parser) outputs(d *Derivation) bool {
	list, sorted := d.Outputs.entries, true
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.outputName()
		if !ok {
			return false
		}
		output, ok := p.output()
		if !ok || !p.expect(")") {
			return false
		}
		if n := len(list); n > 0 && list[n-1].Key >= name {
			sorted = p.unsorted(at, list[n-1].Key == name)
		}
		list = appendTo(list, Entry[string, Output]{name, output})
	}
	if !sorted {
		list = sortEntries(list) // the first of two with the same name counts
	}
	d.Outputs.entries = list
	return true
}

// outputName reads the parenthesis and the name at the start of an output.
func (p *parser) outputName() (name string, ok bool) {
	const likely = `("out"`
	if strings.HasPrefix(p.text[p.pos:], likely) {
		p.pos += len(likely)
		return onlyOut[0], true
	}
	if !p.expect("(") {
		return "", false
	}
	return p.plain()
}

// output reads the three fields of an output that follow its name.
func (p *parser) output() (o Output, ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == ',' {
		dir := p.dir
		if path, ok := p.plainPath(p.pos + 1); ok {
			// Most outputs are input-addressed.
			const rest = `,"",""`
			if after := p.text[p.pos+len(path)+3:]; len(after) > len(rest) && after[:len(rest)] == rest {
				p.pos += len(path) + 3 + len(rest)
				return InputAddressedOutput(path), true
			}
		}
		p.dir = dir // the path of a fixed output may lie in another directory
	}
	var fields [3]string
	var at [3]int
	for i := range fields {
		if !p.expect(",") {
			return o, false
		}
		at[i] = p.pos + 1
		if fields[i], ok = p.plain(); !ok {
			return o, false
		}
	}
	o = p.outputOf(at[0], fields[0], at[1], fields[1], at[2], fields[2])
	return o, p.err == nil
}

// outputOf returns the output with these three fields. It sets p.err if they are not valid.
func (p *parser) outputOf(pathAt int, path string, algoAt int, methodAlgo string, hashAt int, hash string) Output {
	if methodAlgo == "" {
		if hash != "" {
			p.notCanonical(hashAt, "there is a hash without an algorithm")
		}
		if path == "" {
			return DeferredOutput()
		}
		sp, _ := p.storePath(pathAt, path)
		return InputAddressedOutput(sp)
	}
	method, name := storepath.CutMethod(methodAlgo)
	algo, err := nixhash.ParseAlgorithm(name)
	if err != nil {
		p.fail(algoAt, "", err.Error())
		return Output{}
	}
	if hash == "" || hash == impureField {
		if path != "" {
			p.fail(pathAt, `""`, "an output that is neither input-addressed nor fixed has a path")
		}
		if hash == "" {
			return FloatingOutput(method, algo)
		}
		return ImpureOutput(method, algo)
	}
	if !strings.HasPrefix(path, "/") {
		p.fail(pathAt, "an absolute path", fmt.Sprintf("bad path %q of a fixed output", truncate(path)))
		return Output{}
	}
	digest, err := p.digest(hashAt, hash, algo)
	if err != nil {
		p.fail(hashAt, "", err.Error())
		return Output{}
	}
	p.fixed, p.fixedAt = storepath.Path(path), pathAt
	return Output{kind: Fixed, method: method, algo: algo, digest: digest, path: p.fixed}
}

// digest parses the hash of a fixed output in any encoding, and returns it in lower-case hex, as
// Nix writes it.
func (p *parser) digest(offset int, s string, algo nixhash.Algorithm) (string, error) {
	if len(s) == 2*algo.Size() && allOf(inHex, s) {
		return s, nil
	}
	p.notCanonical(offset, "the hash is not in lower-case hex")
	hash, err := nixhash.ParseUnprefixed(s, algo)
	return hash.Base16(), err
}
