package explain

import "strings"

// A textPart is a part of a text: either literal, or the result of an earlier step.
type textPart struct {
	text string
	from int // the number of the step; 0 for a literal part
}

// parts splits the text of a step at the results of earlier steps.
func (s *Step) parts() (parts []textPart) {
	rest := s.Text
	for rest != "" {
		at, in := s.nextInput(rest)
		if in == nil {
			return append(parts, textPart{text: rest})
		}
		if at > 0 {
			parts = append(parts, textPart{text: rest[:at]})
		}
		parts = append(parts, textPart{in.Value, in.From})
		rest = rest[at+len(in.Value):]
	}
	return parts
}

// nextInput returns the first result of an earlier step in text, and where it begins. Of several at the same place it is the longest.
func (s *Step) nextInput(text string) (at int, found *Input) {
	at = len(text)
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if in.From == 0 || in.Value == "" {
			continue
		}
		if n := strings.Index(text, in.Value); n >= 0 && (n < at || n == at && found != nil && len(in.Value) > len(found.Value)) {
			at, found = n, in
		}
	}
	return at, found
}
