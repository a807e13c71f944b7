package acceptencoding_test

import (
	"net/http"
	"testing"

	"pix/internal/acceptencoding"
)

func TestHas(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br, gzip": true, "br,gzip;q=0.5": true, "gzip; q=1": true,
		"gzip;q=0": false, "gzip; q=0.000": false, "gzip;q=x": false, "br": false, "x-gzip": false, "*": false,
	} {
		if got := acceptencoding.Has(http.Header{"Accept-Encoding": {value}}, "gzip"); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
