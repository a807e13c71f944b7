package derivation

import (
	"crypto/sha256"
	"fmt"

	"pix/nixhash"
	"pix/storepath"
)

// check does what needs the hashes of inputs. All of them have been checked before,
// unless they are on a cycle.
func (v *verifier) check(s *subject) {
	if s.derivation != nil {
		s.checkOwnPath()
		s.checkOutputs(v.options)
	}
	switch {
	case len(s.result.Problems) > 0:
		s.result.Status = Failed
	case s.lacks != "":
		s.result.Status = Skipped
		s.problem(CheckOutputPaths, s.lacks)
	default:
		s.result.Status = Verified
	}
	v.progress()
}

func (v *verifier) progress() {
	const step = 64 // files between two calls
	if n := v.done.Add(1); v.options.Progress != nil && (n%step == 0 || int(n) == len(v.subjects)) {
		v.reporting.Lock()
		defer v.reporting.Unlock()
		v.options.Progress(int(n), len(v.subjects))
	}
}

// checkOwnPath compares the name of the file with the store path of its content.
func (s *subject) checkOwnPath() {
	d := s.derivation
	s.result.Path = s.path()
	path, err := d.pathOf(s.sum, d.References())
	switch {
	case err != nil:
		s.problem(CheckOwnPath, err.Error())
	case path != s.result.Path:
		s.result.Problems = append(s.result.Problems, Problem{
			Check: CheckOwnPath, Reason: "the name of the file does not follow from its content", Want: path.Base(), Got: s.file,
		})
	default:
		s.sound = true
	}
}

// checkOutputs computes the hashes and compares the outputs with the paths that follow
// from them.
func (s *subject) checkOutputs(o *VerifyOptions) {
	d, kind := s.derivation, s.result.Kind
	if kind == 0 {
		return // not canonical, as has been said already
	}
	if kind == Fixed {
		s.checkFixed()
		return
	}
	work := hashWorks.Get().(*hashWork)
	defer work.release()
	s.defers = s.collect(work) || kind == Floating || kind == Impure
	if o.Modulo != nil && o.Modulo.DynamicDefers && d.IsDynamic() {
		s.defers = true
	}
	if s.lacks == "" {
		s.hash(work, o)
	}
	switch {
	case kind == Floating || kind == Impure:
		s.lacks = "" // there is no path for which the input would be needed
	case s.defers:
		s.lacks = ""
		s.compare(Map[string, storepath.Path]{})
	case s.lacks == "":
		s.compare(s.paths())
	}
}

func (s *subject) checkFixed() {
	name, output := s.derivation.Outputs.At(0)
	path, err := s.derivation.fixedPath(name, output)
	if err != nil {
		s.problem(CheckOutputPaths, err.Error())
		return
	}
	hash := fixedModuloAt(path, output)
	s.result.Modulo, s.result.Own, s.hashed = hash, hash, true
	s.compare(MapOf(Entry[string, storepath.Path]{name, path}))
}

// collect looks up the hashes of all inputs. It sets s.lacks if one is missing, and
// returns whether one is known to be deferred.
func (s *subject) collect(w *hashWork) (deferred bool) {
	w.inputs = w.inputs[:0]
	for i, input := range s.inputs {
		path, used := s.derivation.InputDerivations.At(i)
		if input == nil || !input.sound || !input.hashed && !input.defers {
			s.lack(path, input)
			continue
		}
		if err := wantedOutputs(s.derivation.Name, path, used, &input.derivation.Outputs); err != nil {
			s.problem(CheckInputs, err.Error())
		}
		deferred = deferred || input.defers
		if !input.hashed {
			s.lack(path, input)
			continue
		}
		if used.Names.Len() > 0 {
			in := hashedInput{names: used.Names.keys}
			input.result.Modulo.Hash.AppendDigest(in.digest[:0])
			w.inputs = append(w.inputs, in)
		}
	}
	return deferred
}

// lack says which input is missing, unless another is missing already.
func (s *subject) lack(path storepath.Path, input *subject) {
	if s.lacks != "" {
		return
	}
	switch {
	case input == nil || input.derivation == nil:
		s.lacks = fmt.Sprintf("the input %s is missing", path)
	case !input.sound:
		s.lacks = fmt.Sprintf("the input %s has not the content that its name says", path)
	default:
		s.lacks = fmt.Sprintf("the input %s has no hash", path)
	}
}

// hash computes the modulo hashes.
func (s *subject) hash(w *hashWork, o *VerifyOptions) {
	kind, inputs := s.result.Kind, w.merge()
	asInput := ModuloHash{Deferred: s.defers}
	if o.Modulo != nil && o.Modulo.DynamicDefers && kind == Deferred {
		asInput.Deferred = true
	}
	if s.canonical && len(s.inputs) == 0 {
		asInput.Hash = s.sum // there is nothing to replace
	} else {
		asInput.Hash = w.sum(s.appendText(w.text[:0], false, inputs))
	}
	s.result.Modulo, s.hashed = asInput, true
	if o.Hashes || !s.defers && (kind == InputAddressed || kind == Deferred) {
		own := w.sum(s.appendText(w.text[:0], true, inputs))
		s.result.Own = ModuloHash{own, s.defers}
	}
	s.defers = asInput.Deferred
}

func (w *hashWork) sum(text []byte) nixhash.Hash {
	w.text = text
	return nixhash.SHA256Hash(sha256.Sum256(text))
}

// appendText does what [Derivation.appendModulo] does. What stands after the input
// derivations is taken from the file, if that is canonical.
func (s *subject) appendText(dst []byte, masked bool, inputs []hashedInput) []byte {
	if !s.canonical {
		return s.derivation.appendModulo(dst, masked, inputs)
	}
	dst = s.derivation.appendHeader(dst, masked)
	dst = appendHashedInputs(dst, inputs)
	offset := s.parsed.inputList.end
	if masked {
		blanked, end, ok := s.appendBlanked(dst, offset)
		if !ok {
			return s.derivation.appendRest(dst, true)
		}
		dst, offset = blanked, end
	}
	return append(dst, s.parsed.text[offset:]...)
}

// appendBlanked appends the text from offset to the last of the variables that are named
// like outputs, without their values, and returns where it goes on. It gives up where
// something is escaped.
func (s *subject) appendBlanked(dst []byte, offset uint32) (_ []byte, end uint32, ok bool) {
	for name := range s.derivation.Outputs.Keys() {
		i, ok := s.derivation.Env.search(name)
		if !ok {
			continue
		}
		at := s.parsed.places[s.parsed.inputs+i] // what is canonical is sorted, so this is where it stands
		if at.start == 0 {
			return nil, 0, false
		}
		start, next := at.valueOf()
		dst, offset = append(dst, s.parsed.text[offset:start]...), next
	}
	return dst, offset, true
}

// paths computes the paths of the outputs from the hash.
func (s *subject) paths() (paths Map[string, storepath.Path]) {
	d := s.derivation
	for name := range d.Outputs.Keys() {
		path, err := d.Dir.OutputPath(name, s.result.Own.Hash, d.Name)
		if err != nil {
			s.problem(CheckOutputPaths, err.Error())
			continue
		}
		paths.entries = append(paths.entries, Entry[string, storepath.Path]{name, path})
	}
	return paths
}

// compare compares the outputs and their variables with the computed paths.
func (s *subject) compare(paths Map[string, storepath.Path]) {
	for _, wrong := range s.derivation.wrongOutputs(paths) {
		s.result.Problems = append(s.result.Problems, Problem{
			Check: CheckOutputPaths, Reason: wrong.Field + ": " + wrong.Reason, Want: wrong.Want, Got: wrong.Got,
		})
	}
}
