package unsupported_test

import (
	"errors"
	"fmt"
	"testing"

	"pix/internal/unsupported"
)

func TestErrorf(t *testing.T) {
	err := fmt.Errorf("adding 'x': %w", unsupported.Errorf("%s is read-only", "a cache"))
	if !errors.Is(err, errors.ErrUnsupported) || err.Error() != "adding 'x': a cache is read-only" {
		t.Errorf("%v", err)
	}
}
