package explain

import "slices"

// A textPart is a part of a text: either literal, or the result of an earlier step.
type textPart struct {
	text string
	from int // the number of the step; 0 for a literal part
}

// parts splits the text of a step at the results of earlier steps. A derivation may have thousands of outputs, so it does not search
// the text for each result.
func (s *Step) parts() (parts []textPart) {
	index := s.resultIndex()
	if index == nil {
		return literalPart(nil, s.Text)
	}
	start := 0
	for i := 0; i+keyLen <= len(s.Text); {
		in := index.at(s.Text[i:])
		if in == nil {
			i++
			continue
		}
		parts = append(literalPart(parts, s.Text[start:i]), textPart{in.Value, in.From})
		i += len(in.Value)
		start = i
	}
	return literalPart(parts, s.Text[start:])
}

// occurring returns the inputs from earlier steps that the text contains. A derivation need not mention the placeholder of an output.
func (s *Step) occurring() (inputs []Input) {
	seen := map[int]bool{}
	for _, part := range s.parts() {
		seen[part.from] = true
	}
	for _, in := range s.Inputs {
		if seen[in.From] {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// literalPart appends a literal part, unless it is empty.
func literalPart(parts []textPart, text string) []textPart {
	if text == "" {
		return parts
	}
	return append(parts, textPart{text: text})
}

// keyLen is the number of bytes by which results are found in a text. Digests, hash parts and paths are longer.
const keyLen = 8

// A resultIndex finds the results of earlier steps in a text.
type resultIndex struct {
	keys    map[string]bool   // the first bytes of the results
	lengths []int             // the lengths of results, the longest first
	results map[string]*Input // by value
}

// resultIndex returns the index of the results that the text contains, or nil if there are none.
func (s *Step) resultIndex() *resultIndex {
	x := &resultIndex{keys: map[string]bool{}, results: map[string]*Input{}}
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if in.From == 0 || len(in.Value) < keyLen || x.results[in.Value] != nil {
			continue
		}
		x.keys[in.Value[:keyLen]] = true
		x.results[in.Value] = in
		if !slices.Contains(x.lengths, len(in.Value)) {
			x.lengths = append(x.lengths, len(in.Value))
		}
	}
	if len(x.results) == 0 {
		return nil
	}
	slices.Sort(x.lengths)
	slices.Reverse(x.lengths)
	return x
}

// at returns the longest result with which a text begins, or nil.
func (x *resultIndex) at(text string) *Input {
	if !x.keys[text[:keyLen]] {
		return nil
	}
	for _, n := range x.lengths {
		if n <= len(text) {
			if in := x.results[text[:n]]; in != nil {
				return in
			}
		}
	}
	return nil
}
