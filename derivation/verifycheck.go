package derivation

import (
	"fmt"
	"slices"

	"pix/storepath"
)

// check makes the checks that need the hashes of inputs. The inputs were checked before, unless they are on
// a cycle.
func (v *verifier) check(s *subject) {
	if s.derivation != nil {
		s.checkOwnPath()
		s.checkOutputs(v.options)
	}
	switch {
	case len(s.result.Problems) > 0:
		s.result.Status = Failed
	case s.missing != "":
		s.result.Status = Skipped
		s.problem(CheckOutputPaths, s.missing)
	default:
		s.result.Status = Verified
	}
	v.progress()
}

func (v *verifier) progress() {
	const step = 64 // files between two calls
	if n := v.done.Add(1); v.options.Progress != nil && (n%step == 0 || n == v.total.Load()) {
		v.reporting.Lock()
		defer v.reporting.Unlock()
		v.options.Progress(int(n), int(v.total.Load()))
	}
}

// checkOwnPath compares the name of the file with the store path that is computed from the contents.
func (s *subject) checkOwnPath() {
	d := s.derivation
	s.result.Path = s.path()
	path, err := d.pathOf(s.sum, d.References())
	switch {
	case err != nil:
		s.problem(CheckOwnPath, err.Error())
	case path != s.result.Path:
		s.result.Problems = append(s.result.Problems, Problem{
			Check: CheckOwnPath, Reason: "the name of the file does not match its contents", Want: path.Base(), Got: s.file,
		})
	default:
		s.pathOK = true
	}
}

// checkOutputs computes the hashes, and compares the outputs with the computed paths.
func (s *subject) checkOutputs(o *VerifyOptions) {
	d, kind := s.derivation, s.result.Kind
	if kind == 0 {
		return // not canonical, which is already reported
	}
	if kind == Fixed {
		s.checkFixed()
		return
	}
	buffers := hashBufferPool.Get().(*hashBuffers)
	defer buffers.release()
	s.deferred = s.collect(buffers) || kind == Floating || kind == Impure
	if o.Modulo != nil && o.Modulo.DynamicDefers && d.IsDynamic() {
		s.deferred = true
	}
	if s.missing == "" {
		s.hash(buffers, o)
	}
	switch {
	case kind == Floating || kind == Impure:
		s.missing = "" // no path depends on the input
	case s.deferred:
		s.missing = ""
		s.compare(Map[string, storepath.Path]{})
	case s.missing == "":
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

// collect looks up the hashes of all inputs. It sets s.missing if one is missing, and returns whether one is
// known to be deferred.
func (s *subject) collect(b *hashBuffers) (deferred bool) {
	b.inputs = b.inputs[:0]
	for i, input := range s.inputs {
		path, used := s.derivation.InputDerivations.At(i)
		if input == nil || !input.pathOK || !input.hashed && !input.deferred {
			s.setMissing(path, input)
			continue
		}
		if err := checkUsedOutputs(s.derivation.Name, path, used, input.hasOutput); err != nil {
			s.problem(CheckInputs, err.Error())
		}
		deferred = deferred || input.deferred
		if !input.hashed {
			s.setMissing(path, input)
			continue
		}
		if used.Names.Len() > 0 {
			in := hashedInput{names: used.Names.keys}
			input.result.Modulo.Hash.AppendDigest(in.digest[:0])
			b.inputs = append(b.inputs, in)
		}
	}
	return deferred
}

// hasOutput reports whether the derivation has an output.
func (s *subject) hasOutput(name string) bool {
	_, found := slices.BinarySearch(s.outputs, name)
	return found
}

// setMissing records that an input is missing, unless another one is already recorded.
func (s *subject) setMissing(path storepath.Path, input *subject) {
	if s.missing != "" {
		return
	}
	switch {
	case input == nil || !input.isParsed:
		s.missing = fmt.Sprintf("the input %s is missing", path)
	case !input.pathOK:
		s.missing = fmt.Sprintf("the contents of the input %s do not match its name", path)
	default:
		s.missing = fmt.Sprintf("the input %s has no hash", path)
	}
}

// hash computes the modulo hashes.
func (s *subject) hash(b *hashBuffers, o *VerifyOptions) {
	kind, inputs := s.result.Kind, b.merge()
	asInput := ModuloHash{Deferred: s.deferred}
	if o.Modulo != nil && o.Modulo.DynamicDefers && kind == Deferred {
		asInput.Deferred = true
	}
	if s.canonical && len(s.inputs) == 0 {
		asInput.Hash = s.sum // the text contains no path of an input to be replaced
	} else {
		asInput.Hash = b.sum(s.appendText(b.text[:0], false, inputs))
	}
	s.result.Modulo, s.hashed = asInput, true
	if o.Hashes || !s.deferred && (kind == InputAddressed || kind == Deferred) {
		own := b.sum(s.appendText(b.text[:0], true, inputs))
		s.result.Own = ModuloHash{own, s.deferred}
	}
	s.deferred = asInput.Deferred
}

// appendText is a fast version of [Derivation.appendModulo]. If the file is canonical, it copies the text
// after the input derivations from the file.
func (s *subject) appendText(dst []byte, masked bool, inputs []hashedInput) []byte {
	if !s.canonical {
		return s.derivation.appendModulo(dst, masked, inputs)
	}
	dst = s.derivation.appendHeader(dst, masked)
	dst = appendHashedInputs(dst, inputs)
	offset := s.parsed.inputList.end
	if masked {
		masked, end, ok := s.appendMasked(dst, offset)
		if !ok {
			return s.derivation.appendRest(dst, true)
		}
		dst, offset = masked, end
	}
	return append(dst, s.parsed.text[offset:]...)
}

// appendMasked appends the text from offset to the last variable with the name of an output, without the
// values of such variables. It returns the offset of the rest of the text. ok is false if a variable has
// escapes.
func (s *subject) appendMasked(dst []byte, offset uint32) (_ []byte, end uint32, ok bool) {
	for name := range s.derivation.Outputs.Keys() {
		i, ok := s.derivation.Env.search(name)
		if !ok {
			continue
		}
		at := s.parsed.locations[s.parsed.inputs+i] // the text is canonical, so its variables have the order of the map
		if at.start == 0 {
			return nil, 0, false
		}
		start, next := at.valueSpan()
		dst, offset = append(dst, s.parsed.text[offset:start]...), next
	}
	return dst, offset, true
}

// paths computes the paths of the outputs from the hash.
func (s *subject) paths() (paths Map[string, storepath.Path]) {
	d := s.derivation
	paths.entries = make([]Entry[string, storepath.Path], 0, d.Outputs.Len())
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
	for _, e := range s.derivation.checkOutputs(paths) {
		s.result.Problems = append(s.result.Problems, Problem{
			Check: CheckOutputPaths, Reason: e.Field + ": " + e.Reason, Want: e.Want, Got: e.Got,
		})
	}
}
