;; Names gateway 9999. The host must refuse the answer: the batch has no such gateway.
(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (drop (call $put-waypoint (local.get $decision) (i32.const 9999))))
