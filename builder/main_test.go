package builder

import (
	"os"
	"testing"

	"pix/builder/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}
