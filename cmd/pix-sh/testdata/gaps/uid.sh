UID=5; echo $UID
