package builder

import (
	"os"
	"testing"

	"pix/builder/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	if victim := os.Getenv(victimVariable); victim != "" {
		runVictim(victim)
	}
	os.Exit(m.Run())
}
