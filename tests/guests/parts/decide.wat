;; Not of the interface: fills in the decision for one subject of the batch. Direct, without a reason.
(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (call $put-choice (local.get $decision) (global.get $choice=direct)))
