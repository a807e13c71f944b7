package explain

import (
	"encoding/base64"
	"unicode/utf8"

	"pix/internal/exactjson"
	"pix/internal/printable"
)

// jsonText returns a text in JSON, which cannot contain bytes that are not UTF-8: the text itself, or the text in base 64.
func jsonText(s string) (text, inBase64 *string) {
	if utf8.ValidString(s) {
		return &s, nil
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(s))
	return nil, &encoded
}

// jsonName returns a name or a sentence for JSON. Unlike a text, it is not given exactly if it has bytes that are not UTF-8: they are
// escaped, so that different names stay different.
func jsonName(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return printable.Escape(s)
}

// orNull returns nil, which is null in JSON, for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// MarshalJSON implements [json.Marshaler].
func (e *Explanation) MarshalJSON() ([]byte, error) {
	steps, problems := e.Steps, make([]string, len(e.Problems))
	if steps == nil {
		steps = []Step{}
	}
	for i, p := range e.Problems {
		problems[i] = jsonName(p)
	}
	return exactjson.Marshal(struct {
		Subject  string   `json:"subject"`
		Kind     string   `json:"kind"`
		Steps    []Step   `json:"steps"`
		Problems []string `json:"problems"`
	}{jsonName(e.Subject), e.Kind, steps, problems})
}

// MarshalJSON implements [json.Marshaler]. A text with bytes that are not UTF-8 is in the member textBase64 instead of text.
func (s Step) MarshalJSON() ([]byte, error) {
	text, inBase64 := jsonText(s.Text)
	inputs := s.Inputs
	if inputs == nil {
		inputs = []Input{}
	}
	return exactjson.Marshal(struct {
		Name       StepName `json:"name"`
		Output     *string  `json:"output"`
		Title      string   `json:"title"`
		Why        string   `json:"why"`
		Inputs     []Input  `json:"inputs"`
		Op         Op       `json:"op"`
		Text       *string  `json:"text"`
		TextBase64 *string  `json:"textBase64"`
		Result     *string  `json:"result"`
	}{s.Name, orNull(jsonName(s.Output)), s.Title, s.Why, inputs, s.Op, text, inBase64, orNull(s.Result)})
}

// MarshalJSON implements [json.Marshaler]. A value with bytes that are not UTF-8 is in the member valueBase64 instead of value.
func (in Input) MarshalJSON() ([]byte, error) {
	value, inBase64 := jsonText(in.Value)
	return exactjson.Marshal(struct {
		Name        string  `json:"name"`
		Value       *string `json:"value"`
		ValueBase64 *string `json:"valueBase64"`
		From        *int    `json:"from"`
		Reason      *string `json:"reason"`
		Note        *string `json:"note"`
	}{jsonName(in.Name), value, inBase64, orNull(in.From), orNull(in.Reason), orNull(jsonName(in.Note))})
}
