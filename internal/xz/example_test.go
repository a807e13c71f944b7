package xz_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"pix/internal/xz"
)

func ExampleNewReader() {
	// printf hello | xz --check=none | xxd -p
	const file = "fd377a585a000000ff12d9410200210116000000742fe5a301000468656c6c6f0000000000011505b0a7596706729e7a010000000000595a"
	r, err := xz.NewReader(hex.NewDecoder(strings.NewReader(file)), xz.Options{MaxWindow: 64 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := io.ReadAll(r)
	fmt.Println(string(b), err)
	// Output: hello <nil>
}
