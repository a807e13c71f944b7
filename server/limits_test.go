package server_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"pix/activity"
	"pix/protocol"
)

func signaturesOf(n int, name string) (all []string) {
	for i := range n {
		raw := make([]byte, 64)
		raw[0], raw[1] = byte(i), byte(i>>8)
		all = append(all, fmt.Sprint(name, i, ":", base64.StdEncoding.EncodeToString(raw)))
	}
	return all
}

// Everybody may add signatures to a path, but not as many as they like: all are in each answer
// about it.
func TestManySignatures(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, nil)
	must[*protocol.Ack](c, &protocol.AddSignaturesRequest{Path: text, Signatures: signaturesOf(60, "a")}, nil)
	must[*protocol.Ack](c, &protocol.AddSignaturesRequest{Path: text, Signatures: signaturesOf(60, "a")}, nil) // the same
	for what, signatures := range map[string][]string{"many": signaturesOf(10, "b"), "long": signaturesOf(1, strings.Repeat("x", 20<<10))} {
		if _, err := c.ask(&protocol.AddSignaturesRequest{Path: text, Signatures: signatures}, nil); err == nil || !strings.Contains(err.Error(), "users who are not trusted") {
			t.Errorf("%s: %v", what, err)
		}
	}
	must[*protocol.Ack](dial(t, s, trusted), &protocol.AddSignaturesRequest{Path: text, Signatures: signaturesOf(100, "c")}, nil)

	object, archive := importOf(t, "x")
	object.Signatures = signaturesOf(70, "a")
	if _, err := c.ask(&protocol.AddToStoreNarRequest{Info: *object}, archive); err == nil || !strings.Contains(err.Error(), "users who are not trusted") {
		t.Errorf("%v", err)
	}
	info, err := s.QueryPathInfo(t.Context(), text)
	if err != nil || len(info.Signatures) != 160 {
		t.Errorf("%d signatures, %v", len(info.Signatures), err)
	}
}

// What is set is kept, so whoever is not trusted sets nothing long.
func TestLongSetting(t *testing.T) {
	s, _, _ := newStore(t)
	c := dial(t, s, nil)
	must[*protocol.None](c, &protocol.SetOptionsRequest{Overrides: map[string]string{"timeout": strings.Repeat("0", 100), "connect-timeout": "5"}}, nil)
	var lines []string
	for _, e := range c.events {
		lines = append(lines, e.(activity.Log).Text)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "'timeout'") {
		t.Errorf("it says %q", lines)
	}
}
