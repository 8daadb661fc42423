;; Chooses waypoints and names none. The host must refuse the answer: neither direct nor blocked was said.
(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (call $put-waypoints (local.get $decision) (i32.const 4096) (i32.const 0)))
