// Package s3test has the tests of package s3 against other programs' servers of S3. It is a separate module, so that pix does
// not depend on them.
//
//   - gofakes3 runs in the process of the test and accepts any signature, also none, as Debian's Nix sends.
//   - versitygw checks signatures. PIX_S3_SERVER names the program; without it, its tests are skipped, or fail if
//     PIX_TEST_REQUIRE contains "s3".
//
// To run the tests:
//
//	go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
//	PIX_S3_SERVER=~/go/bin/versitygw go test ./...
package s3test
